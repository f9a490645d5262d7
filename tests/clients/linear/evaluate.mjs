// Carries out each mutation of its input by graphql-js, and says which fields that called, with which arguments.
//   node evaluate.mjs SCHEMA < lines of {"query", "variables", "operationName"} > lines of [{"key", "name", "arguments"}] or null
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { buildSchema, execute, parse } from 'graphql';

const schema = buildSchema(readFileSync(process.argv[2], 'utf8'), { assumeValidSDL: true });
for await (const line of createInterface({ input: process.stdin })) {
  const { query, variables, operationName } = JSON.parse(line);
  const called = [];
  const fieldResolver = (source, args, context, info) => {
    if (info.parentType.name !== 'Mutation') return source?.[info.fieldName];
    called.push({ key: info.path.key, name: info.fieldName, arguments: args });
    return { success: true };
  };
  let told = null;
  try {
    const result = await execute({ schema, document: parse(query), variableValues: variables, operationName, fieldResolver });
    told = result.errors ? null : called;
  } catch {
    told = null;
  }
  console.log(JSON.stringify(told));
}
