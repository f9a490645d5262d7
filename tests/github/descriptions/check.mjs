// Holds exchanges against GitHub's own descriptions of its API. The arguments are the folder in which `package.json` was installed,
// and a file: a list of {method, path, status, body, answer}. Prints what does not fit, one line each, and how many were held.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, file] = process.argv.slice(2);
const require = createRequire(folder + "/x.js");
const load = (path) => JSON.parse(readFileSync(folder + "/node_modules/" + path, "utf8"));
const Ajv = require("ajv");
const addFormats = require("ajv-formats");
const { buildSchema, execute, parse, validate, specifiedRules, OverlappingFieldsCanBeMergedRule } = require("graphql");

const rest = load("@octokit/openapi/generated/api.github.com.json");
// JSON Schema has no `nullable` of its own; beside a `type` the validator knows it.
function spellNullable(value) {
  if (value === null || typeof value !== "object") return;
  if (value.nullable === true && typeof value.type !== "string") {
    const { nullable, ...rest } = value;
    for (const name of Object.keys(value)) delete value[name];
    value.anyOf = [rest, { type: "null" }];
  }
  if (value.nullable === true && Array.isArray(value.enum) && !value.enum.includes(null)) value.enum.push(null);
  Object.values(value).forEach(spellNullable);
}
spellNullable(rest.components.schemas);
spellNullable(rest.paths);
const ajv = new (Ajv.default ?? Ajv)({ strict: false, validateSchema: false, allErrors: true, logger: false });
(addFormats.default ?? addFormats)(ajv);
ajv.addSchema(rest, "github");
const schema = buildSchema(readFileSync(folder + "/node_modules/@octokit/graphql-schema/schema.graphql", "utf8"), { assumeValidSDL: true });
// The service accepts what this rule forbids.
const rules = specifiedRules.filter((rule) => rule !== OverlappingFieldsCanBeMergedRule);

const templates = Object.keys(rest.paths).map((path) => ({
  path,
  pattern: new RegExp("^" + path.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{[^}]+\}/g, "[^/]+") + "$"),
  fixed: path.split("/").filter((part) => !part.startsWith("{")).length,
}));
const wrong = [];
let held = 0;

function ofRest({ method, path, status, answer }) {
  const plain = path.split("?")[0].replace(/^\/repositories\/\d+/, "/repos/acme/app");
  const found = templates
    .filter(({ path, pattern }) => pattern.test(plain) && rest.paths[path][method.toLowerCase()])
    .sort((one, other) => other.fixed - one.fixed)[0];
  if (!found) return `no such call`;
  const pointer = (part) => part.replace(/~/g, "~0").replace(/\//g, "~1");
  const call = `/paths/${pointer(found.path)}/${method.toLowerCase()}`;
  let told = rest.paths[found.path][method.toLowerCase()].responses[String(status)];
  if (!told) return status >= 400 ? undefined : `${status} is no answer of it`;
  const at = told.$ref ? told.$ref.slice(1) : `${call}/responses/${status}`;
  if (told.$ref) told = told.$ref.slice(2).split("/").reduce((value, part) => value[part], rest);
  if (!told.content?.["application/json"]) return answer === null ? undefined : `it has no body`;
  held += 1;
  const check = ajv.compile({ $ref: `github#${encodeURI(at)}/content/application~1json/schema` });
  return check(answer) ? undefined : ajv.errorsText(check.errors);
}

async function ofGraphql({ body, answer }) {
  const { query, variables, operationName } = JSON.parse(body);
  const document = parse(query);
  const errors = validate(schema, document, rules);
  if (errors.length) return errors.map(String).join("; ");
  if (!answer.data) return undefined;
  held += 1;
  // What the answer has under each key is what the schema must allow there.
  const fieldResolver = (source, _arguments, _context, info) => source?.[info.path.key];
  const typeResolver = (value) => value.__typename;
  const again = await execute({ schema, document, rootValue: answer.data, variableValues: variables, operationName, fieldResolver, typeResolver });
  const expected = (answer.errors ?? []).length;
  const own = (again.errors ?? []).filter((error) => !expected || !/non-nullable/.test(error.message));
  return own.length ? own.map(String).join("; ") : undefined;
}

for (const exchange of JSON.parse(readFileSync(file, "utf8"))) {
  const why = exchange.path.endsWith("/graphql") ? await ofGraphql(exchange) : ofRest(exchange);
  if (why) wrong.push(`${exchange.method} ${exchange.path} ${exchange.status}: ${why} ${exchange.path.endsWith("/graphql") ? exchange.body : ""}`);
}
console.log(JSON.stringify({ held, wrong }));
