// What jira.js is told of claim, move, edit and release, and what each step left.
//
// flows.mjs BASE ACCOUNTS ISSUE [refused]: prints a line of JSON a step. Runs in the folder where jira.js is installed.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [base, told, issueIdOrKey] = process.argv.slice(2);
const accounts = JSON.parse(told);
const require = createRequire(pathToFileURL(`${process.cwd()}/package.json`));
const { Version3Client } = require("jira.js");

const client = (login) =>
  new Version3Client({
    host: base,
    authentication: { basic: { email: accounts[login].name, apiToken: accounts[login].secret } },
  });
const ann = client("dev-1");
const bob = client("dev-2");

async function left() {
  const { fields } = await ann.issues.getIssue({ issueIdOrKey, fields: ["assignee", "status", "summary"] });
  return [fields.assignee?.displayName ?? null, fields.status.name, fields.summary];
}

async function step(name, call) {
  let told;
  try {
    const value = await call();
    told = typeof value === "string" ? value : "ok";
  } catch (error) {
    const body = error.response?.data ?? error.response ?? {};
    told = `${error.constructor.name} ${error.status ?? body.status} ${JSON.stringify(body.errorMessages ?? body.errors)}`;
  }
  console.log(JSON.stringify({ step: name, told, left: await left() }));
}

const assign = (who, login) =>
  who.issues.assignIssue({ issueIdOrKey, accountId: login && accounts[login].as.accountId });
const move = (who, id, more = {}) => who.issues.doTransition({ issueIdOrKey, transition: { id }, ...more });

await step("whose it is", async () => (await ann.myself.getCurrentUser()).displayName);
await step("claim", () => assign(ann, "dev-1"));
if (process.argv.includes("refused")) {
  await step("claim of another", () => assign(bob, "dev-2"));
  await step("move of another", () => move(bob, "21"));
  await step("edit of another", () =>
    bob.issues.editIssue({ issueIdOrKey, fields: { assignee: accounts["dev-2"].as } }));
}
await step("claim again", () => assign(ann, "dev-1"));
await step("move", () => move(ann, "21"));
await step("comment", () => ann.issueComments.addComment({ issueIdOrKey, comment: "on it" }));
await step("edit", () => ann.issues.editIssue({ issueIdOrKey, fields: { summary: "another" }, notifyUsers: false }));
await step("move with a field", () => move(ann, "31", { fields: { priority: { name: "High" } } }));
await step("release", () => assign(ann, null));
await step("finish", () => move(ann, "51"));
