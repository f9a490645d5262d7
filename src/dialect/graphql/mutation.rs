//! A mutation as its server carries it out, and as it is written anew.

use super::super::ParseError;
use super::body::Entry;
use super::execution::{ExecutedField, ExecutionScope};
use super::lexer::malformed;
use super::print;
use super::syntax::{
    Directive, FieldSelection, Fragment, Literal, Operation, OperationKind, Selection, VariableDefinition,
};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A mutation that a request asks for: the fields that are carried out, one after another.
#[derive(Clone, Debug)]
pub struct Mutation {
    operation: Operation,
    scope: ExecutionScope,
    operation_name: Option<String>,
    fields: Vec<ExecutedField>,
}

/// The name of the type at whose root the fields of a mutation stand.
const ROOT: &str = "Mutation";

// === impl Mutation ===

impl Mutation {
    /// The operation that is carried out, if it is a mutation.
    pub(super) fn read(entry: Entry) -> Result<Option<Self>, ParseError> {
        let Entry { document, operation_name, variables } = entry;
        let mutates = document.operations.iter().any(|operation| operation.kind == OperationKind::Mutation);
        let named = |operation: &Operation| operation_name.is_none() || operation.name == operation_name;
        let mut chosen = document.operations.into_iter().filter(named);
        let operation = match (chosen.next(), chosen.next()) {
            (Some(operation), None) => operation,
            _ if !mutates => return Ok(None),
            _ => return Err(malformed("`operationName` does not name one of its operations")),
        };
        if operation.kind != OperationKind::Mutation {
            return Ok(None);
        }
        let scope = ExecutionScope::new(&operation, document.fragments, &variables);
        let fields = scope.collect(ROOT, &operation.selections)?;
        if fields.is_empty() {
            return Err(malformed("its mutation has no field"));
        }
        let operation = Operation { selections: Vec::new(), ..operation };
        Ok(Some(Self { operation, scope, operation_name, fields }))
    }

    /// What is carried out, in this order.
    pub fn fields(&self) -> &[ExecutedField] {
        &self.fields
    }

    /// The fields of an object of this type, as they are selected.
    pub fn selected(&self, of_type: &str, selections: &[Selection]) -> Result<Vec<ExecutedField>, ParseError> {
        self.scope.collect(of_type, selections)
    }

    /// The same mutation, of which the argument of a field that is an object lacks these members.
    #[must_use]
    pub fn without(&self, key: &str, argument: &str, members: &[&str]) -> Self {
        let mut left = self.clone();
        let Some(field) = left.fields.iter_mut().find(|field| field.key == key) else { return left };
        if let Some(Value::Object(value)) = field.arguments.get_mut(argument) {
            value.retain(|name, _| !members.contains(&name.as_str()));
        }
        let Some((_, written)) = field.written.iter_mut().find(|(name, _)| name == argument) else { return left };
        match written {
            Literal::Object(written) => written.retain(|(name, _)| !members.contains(&name.as_str())),
            Literal::Variable(name) => {
                // Another field may use the same variable: this one gets its own.
                let known = left.operation.variables.iter().find(|variable| variable.name == *name).cloned();
                let value = field.arguments.get(argument).cloned();
                if let (Some(known), Some(value)) = (known, value) {
                    let fresh = left.scope.fresh_name(name);
                    left.scope.values.insert(fresh.clone(), value);
                    left.scope.declared.insert(fresh.clone());
                    left.operation.variables.push(VariableDefinition { name: fresh.clone(), default: None, ..known });
                    *name = fresh;
                }
            }
            _ => {}
        }
        left
    }

    /// The body of a POST that asks for exactly this: the fields as they are carried out, and nothing that they do not use.
    pub fn body(&self) -> Bytes {
        let selections = self.fields.iter().map(ExecutedField::rewritten).map(Selection::Field).collect();
        self.body_of(Operation { selections, ..self.operation.clone() }, self.operation_name.as_deref())
    }

    /// The body of a POST that asks for these fields of the query type instead, under the same fragments and variables.
    pub fn query_body(&self, fields: Vec<FieldSelection>) -> Bytes {
        let selections = fields.into_iter().map(Selection::Field).collect();
        let (kind, name, directives) = (OperationKind::Query, None, Vec::new());
        let variables = self.operation.variables.clone();
        self.body_of(Operation { kind, name, variables, directives, selections }, None)
    }

    /// With what is used of variables and fragments: a server refuses what is left over.
    fn body_of(&self, mut operation: Operation, operation_name: Option<&str>) -> Bytes {
        let mut used = Used::default();
        used.directives(&operation.directives);
        used.selections(&operation.selections, &self.scope);
        operation.variables.retain(|variable| used.variables.contains(&variable.name));
        let fragments: Vec<&Fragment> =
            used.fragments.iter().filter_map(|name| self.scope.fragments.get(name)).collect();
        let document = print::document(&operation, fragments.into_iter());
        let values = self.scope.values.iter().filter(|(name, _)| used.variables.contains(*name));
        let values: Map<String, Value> = values.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut body = json!({ "query": document });
        if !values.is_empty() {
            body["variables"] = Value::Object(values);
        }
        if let Some(name) = operation_name {
            body["operationName"] = name.into();
        }
        body.to_string().into()
    }
}

impl ExecutionScope {
    /// A variable's name that nothing else has.
    fn fresh_name(&self, like: &str) -> String {
        let mut name = format!("{like}_");
        while self.declared.contains(&name) {
            name.push('_');
        }
        name
    }
}

impl ExecutedField {
    /// As a selection: what decided whether it is there, has decided.
    fn rewritten(&self) -> FieldSelection {
        FieldSelection {
            alias: (self.key != self.name).then(|| self.key.clone()),
            name: self.name.clone(),
            arguments: self.written.clone(),
            directives: Vec::new(),
            selections: self.selections.clone(),
        }
    }
}

/// What selections make use of.
#[derive(Default)]
struct Used {
    variables: BTreeSet<String>,
    fragments: BTreeSet<String>,
}

// === impl Used ===

impl Used {
    /// Fragments are followed one after another: how deep they stand in each other does not matter.
    fn selections(&mut self, selections: &[Selection], scope: &ExecutionScope) {
        let mut next = vec![selections];
        while let Some(selections) = next.pop() {
            for selection in selections {
                match selection {
                    Selection::Field(field) => {
                        field.arguments.iter().for_each(|(_, value)| self.value(value));
                        self.directives(&field.directives);
                        next.push(&field.selections);
                    }
                    Selection::Inline { directives, selections, .. } => {
                        self.directives(directives);
                        next.push(selections);
                    }
                    Selection::Spread { name, directives } => {
                        self.directives(directives);
                        if let (true, Some(fragment)) = (self.fragments.insert(name.clone()), scope.fragments.get(name))
                        {
                            self.directives(&fragment.directives);
                            next.push(&fragment.selections);
                        }
                    }
                }
            }
        }
    }

    fn directives(&mut self, directives: &[Directive]) {
        for (_, value) in directives.iter().flat_map(|directive| &directive.arguments) {
            self.value(value);
        }
    }

    fn value(&mut self, value: &Literal) {
        match value {
            Literal::Variable(name) => drop(self.variables.insert(name.clone())),
            Literal::List(items) => items.iter().for_each(|item| self.value(item)),
            Literal::Object(members) => members.iter().for_each(|(_, value)| self.value(value)),
            Literal::Int(_)
            | Literal::Float(_)
            | Literal::Text(_)
            | Literal::Boolean(_)
            | Literal::Null
            | Literal::Enum(_) => {}
        }
    }
}
