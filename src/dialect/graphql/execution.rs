//! What a server carries out of an operation: the fields of a selection set with fragments and directives followed
//! (GraphQL specification, section 6.3.2, `CollectFields`), and their arguments with variables and defaults put in.

use super::super::ParseError;
use super::lexer::malformed;
use super::syntax::{Directive, FieldSelection, Fragment, Literal, Operation, Selection};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A field as a server executes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecutedField {
    /// Under which the answer has it: its alias, or its name.
    pub key: String,
    /// The field.
    pub name: String,
    /// Its arguments, as far as they have a value. An enum's value is a text like any other.
    pub arguments: Map<String, Value>,
    /// The same, as they were written.
    pub written: Vec<(String, Literal)>,
    /// What is selected of its answer, of all places that name it under this key.
    pub selections: Vec<Selection>,
}

/// What the fields of an operation are read with.
#[derive(Clone, Debug, Default)]
pub(super) struct ExecutionScope {
    pub(super) fragments: BTreeMap<String, Fragment>,
    /// Every variable that has a value.
    pub(super) values: Map<String, Value>,
    /// Every variable that the operation declares.
    pub(super) declared: BTreeSet<String>,
}

/// Fields of one operation that a server executes at its root.
const MOST_FIELDS: usize = 100;
/// Fields and fragments that are looked at on the way.
const MOST_STEPS: usize = 10_000;
/// Fragments within each other.
const DEEPEST_FRAGMENT: usize = 32;
/// Members and items of all arguments of one selection set, variables put in.
const MOST_VALUES: usize = 20_000;

// === impl ExecutionScope ===

impl ExecutionScope {
    /// Of this operation, with the values that its request gives. What it does not declare is left out, as servers do.
    pub(super) fn new(operation: &Operation, fragments: Vec<Fragment>, given: &Map<String, Value>) -> Self {
        let mut scope = Self::default();
        for variable in &operation.variables {
            scope.declared.insert(variable.name.clone());
            let value = match (given.get(&variable.name), &variable.default) {
                (Some(value), _) => Some(value.clone()),
                (None, Some(default)) => constant(default),
                (None, None) => None,
            };
            if let Some(value) = value {
                scope.values.insert(variable.name.clone(), value);
            }
        }
        scope.fragments = fragments.into_iter().map(|fragment| (fragment.name.clone(), fragment)).collect();
        scope
    }

    /// The fields of a selection set of this type, in the order in which a server executes them.
    pub(super) fn collect(&self, of_type: &str, selections: &[Selection]) -> Result<Vec<ExecutedField>, ParseError> {
        let mut collected = Collected {
            scope: self,
            of_type,
            fields: Vec::new(),
            visited: BTreeSet::new(),
            steps: 0,
            values: 0,
            depth: 0,
        };
        collected.walk(selections)?;
        Ok(collected.fields)
    }

    /// The value; `None` where it is a variable without one.
    fn value(&self, literal: &Literal, left: &mut usize) -> Result<Option<Value>, ParseError> {
        *left = left
            .checked_sub(1)
            .ok_or_else(|| malformed(format!("its arguments have more than {MOST_VALUES} values")))?;
        Ok(Some(match literal {
            Literal::Variable(name) => {
                if !self.declared.contains(name) {
                    let name: String = name.chars().take(40).collect();
                    return Err(malformed(format!("the variable `{name}` is not declared")));
                }
                let Some(value) = self.values.get(name) else { return Ok(None) };
                *left = left.saturating_sub(size_of(value));
                value.clone()
            }
            Literal::List(items) => {
                // A variable without a value is null in a list.
                let each = items.iter().map(|item| Ok(self.value(item, left)?.unwrap_or(Value::Null)));
                Value::Array(each.collect::<Result<_, ParseError>>()?)
            }
            Literal::Object(members) => Value::Object(self.members(members, left)?),
            plain => return Ok(constant(plain)),
        }))
    }

    fn members(&self, written: &[(String, Literal)], left: &mut usize) -> Result<Map<String, Value>, ParseError> {
        let mut members = Map::new();
        for (name, literal) in written {
            if let Some(value) = self.value(literal, left)? {
                members.insert(name.clone(), value);
            }
        }
        Ok(members)
    }

    /// Whether `@skip` and `@include` let it be.
    fn is_there(&self, directives: &[Directive]) -> Result<bool, ParseError> {
        let (mut is_there, mut left) = (true, MOST_VALUES);
        for directive in directives {
            let wanted = match directive.name.as_str() {
                "skip" => false,
                "include" => true,
                _ => continue,
            };
            let condition = directive.arguments.iter().find(|(name, _)| name == "if").map(|(_, literal)| literal);
            let value = match condition {
                Some(literal) => self.value(literal, &mut left)?,
                None => None,
            };
            let Some(Value::Bool(value)) = value else {
                return Err(malformed(format!("the condition of @{} is neither true nor false", directive.name)));
            };
            is_there &= value == wanted;
        }
        Ok(is_there)
    }
}

struct Collected<'a> {
    scope: &'a ExecutionScope,
    of_type: &'a str,
    fields: Vec<ExecutedField>,
    /// Each fragment counts once in a selection set.
    visited: BTreeSet<&'a str>,
    steps: usize,
    values: usize,
    depth: usize,
}

impl<'a> Collected<'a> {
    fn walk(&mut self, selections: &'a [Selection]) -> Result<(), ParseError> {
        for selection in selections {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(malformed(format!("more than {MOST_STEPS} fields and fragments stand in one place")));
            }
            match selection {
                Selection::Field(field) if self.scope.is_there(&field.directives)? => self.add(field)?,
                Selection::Spread { name, directives } if self.scope.is_there(directives)? => self.follow(name)?,
                Selection::Inline { on, directives, selections } if self.scope.is_there(directives)? => {
                    self.is_of(on.as_deref())?;
                    self.walk(selections)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn follow(&mut self, name: &str) -> Result<(), ParseError> {
        let scope: &'a ExecutionScope = self.scope;
        let Some((name, fragment)) = scope.fragments.get_key_value(name) else {
            let name: String = name.chars().take(40).collect();
            return Err(malformed(format!("the fragment `{name}` is not there")));
        };
        if !self.visited.insert(name) {
            return Ok(());
        }
        self.is_of(Some(&fragment.on))?;
        self.depth += 1;
        if self.depth > DEEPEST_FRAGMENT {
            return Err(malformed(format!("fragments stand in each other more than {DEEPEST_FRAGMENT} deep")));
        }
        let walked = self.walk(&fragment.selections);
        self.depth -= 1;
        walked
    }

    /// Without the schema nobody knows which other types it also is.
    fn is_of(&self, on: Option<&str>) -> Result<(), ParseError> {
        if on.is_none_or(|on| on == self.of_type) {
            return Ok(());
        }
        Err(malformed(format!("a fragment stands where the type is {}, and is of another type", self.of_type)))
    }

    fn add(&mut self, field: &FieldSelection) -> Result<(), ParseError> {
        let mut left = MOST_VALUES.saturating_sub(self.values);
        let arguments = self.scope.members(&field.arguments, &mut left)?;
        self.values = MOST_VALUES - left;
        let key = field.alias.as_ref().unwrap_or(&field.name);
        if let Some(known) = self.fields.iter_mut().find(|known| known.key == *key) {
            if known.name != field.name || known.arguments != arguments {
                let key: String = key.chars().take(40).collect();
                return Err(malformed(format!("`{key}` stands for two different fields: give one of them an alias")));
            }
            known.selections.extend(field.selections.iter().cloned());
            return Ok(());
        }
        if self.fields.len() == MOST_FIELDS {
            return Err(malformed(format!("it has more than {MOST_FIELDS} fields at its root")));
        }
        self.fields.push(ExecutedField {
            key: key.clone(),
            name: field.name.clone(),
            arguments,
            written: field.arguments.clone(),
            selections: field.selections.clone(),
        });
        Ok(())
    }
}

/// The value of what has no variable in it.
fn constant(literal: &Literal) -> Option<Value> {
    Some(match literal {
        Literal::Variable(_) => return None,
        // What is no number of 64 bits is an id, if anything: its digits say which.
        Literal::Int(text) => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => Value::from(text.as_str()),
        },
        Literal::Float(text) => text.parse::<f64>().map_or_else(|_| Value::from(text.as_str()), Value::from),
        Literal::Text(text) | Literal::Enum(text) => Value::from(text.as_str()),
        Literal::Boolean(value) => Value::Bool(*value),
        Literal::Null => Value::Null,
        Literal::List(items) => items.iter().map(|item| constant(item).unwrap_or(Value::Null)).collect(),
        Literal::Object(members) => {
            let members = members.iter().filter_map(|(name, value)| Some((name.clone(), constant(value)?)));
            Value::Object(members.collect())
        }
    })
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size_of).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size_of).sum::<usize>(),
        _ => 1,
    }
}
