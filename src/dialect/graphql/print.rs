//! Writes a document anew: without comments, one way to write each string, nothing that the reader did not understand.

use super::syntax::{
    Directive, FieldSelection, Fragment, Literal, Operation, OperationKind, Selection, VariableDefinition,
};
use serde_json::Value;

/// A document of this operation and these fragments.
pub(super) fn document<'f>(operation: &Operation, fragments: impl Iterator<Item = &'f Fragment>) -> String {
    let mut text = String::new();
    print_operation(&mut text, operation);
    for fragment in fragments {
        text.push_str(" fragment ");
        text.push_str(&fragment.name);
        text.push_str(" on ");
        text.push_str(&fragment.on);
        print_directives(&mut text, &fragment.directives);
        print_selections(&mut text, &fragment.selections);
    }
    text
}

fn print_operation(text: &mut String, operation: &Operation) {
    text.push_str(match operation.kind {
        OperationKind::Query => "query",
        OperationKind::Mutation => "mutation",
        OperationKind::Subscription => "subscription",
    });
    if let Some(name) = &operation.name {
        text.push(' ');
        text.push_str(name);
    }
    if !operation.variables.is_empty() {
        text.push('(');
        for (at, variable) in operation.variables.iter().enumerate() {
            text.push_str(if at == 0 { "" } else { ", " });
            print_variable(text, variable);
        }
        text.push(')');
    }
    print_directives(text, &operation.directives);
    print_selections(text, &operation.selections);
}

fn print_variable(text: &mut String, variable: &VariableDefinition) {
    text.push('$');
    text.push_str(&variable.name);
    text.push_str(": ");
    text.push_str(&variable.of_type);
    if let Some(default) = &variable.default {
        text.push_str(" = ");
        print_value(text, default);
    }
    print_directives(text, &variable.directives);
}

fn print_directives(text: &mut String, directives: &[Directive]) {
    for directive in directives {
        text.push_str(" @");
        text.push_str(&directive.name);
        print_arguments(text, &directive.arguments);
    }
}

fn print_arguments(text: &mut String, arguments: &[(String, Literal)]) {
    if arguments.is_empty() {
        return;
    }
    text.push('(');
    print_members(text, arguments);
    text.push(')');
}

fn print_members(text: &mut String, members: &[(String, Literal)]) {
    for (at, (name, value)) in members.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        text.push_str(name);
        text.push_str(": ");
        print_value(text, value);
    }
}

fn print_selections(text: &mut String, selections: &[Selection]) {
    if selections.is_empty() {
        return;
    }
    text.push_str(" {");
    for selection in selections {
        text.push(' ');
        match selection {
            Selection::Field(field) => print_field(text, field),
            Selection::Spread { name, directives } => {
                text.push_str("...");
                text.push_str(name);
                print_directives(text, directives);
            }
            Selection::Inline { on, directives, selections } => {
                text.push_str("...");
                if let Some(on) = on {
                    text.push_str(" on ");
                    text.push_str(on);
                }
                print_directives(text, directives);
                print_selections(text, selections);
            }
        }
    }
    text.push_str(" }");
}

fn print_field(text: &mut String, field: &FieldSelection) {
    if let Some(alias) = &field.alias {
        text.push_str(alias);
        text.push_str(": ");
    }
    text.push_str(&field.name);
    print_arguments(text, &field.arguments);
    print_directives(text, &field.directives);
    print_selections(text, &field.selections);
}

fn print_value(text: &mut String, value: &Literal) {
    match value {
        Literal::Variable(name) => {
            text.push('$');
            text.push_str(name);
        }
        Literal::Int(word) | Literal::Float(word) | Literal::Enum(word) => text.push_str(word),
        // Every escape that JSON writes is one of GraphQL's, too.
        Literal::Text(decoded) => text.push_str(&Value::from(decoded.as_str()).to_string()),
        Literal::Boolean(value) => text.push_str(if *value { "true" } else { "false" }),
        Literal::Null => text.push_str("null"),
        Literal::List(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                print_value(text, item);
            }
            text.push(']');
        }
        Literal::Object(members) => {
            text.push('{');
            print_members(text, members);
            text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::syntax::parse;
    use super::*;

    fn printed(text: &str) -> String {
        let read = parse(text).unwrap();
        document(&read.operations[0], read.fragments.iter())
    }

    #[test]
    fn what_is_printed_reads_the_same() {
        let text = "mutation M($a: [Int!]! = [1,2] @v, $b: In = {x: \"\"\"\n  q\\\"\"\"\n\"\"\"}) @o { # c\n z: b(c: $a, d: -1.5, e: E, f: {g: null, h: [true $a]}) @skip(if: $a) { i ...F @include(if: false) ... @x { j } ... on T { k } } } fragment F on T @y { l }";
        let once = printed(text);
        assert_eq!(
            once,
            r#"mutation M($a: [Int!]! = [1, 2] @v, $b: In = {x: "q\"\"\""}) @o { z: b(c: $a, d: -1.5, e: E, f: {g: null, h: [true, $a]}) @skip(if: $a) { i ...F @include(if: false) ... @x { j } ... on T { k } } } fragment F on T @y { l }"#
        );
        assert_eq!(printed(&once), once);
        assert_eq!(printed("{a(b:\"\\u0007\\u{1F600}\\/\")}"), "query { a(b: \"\\u0007\u{1f600}/\") }");
    }
}
