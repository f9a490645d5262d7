// What the stock client `octokit` is told: `race` claims each issue by all agents at once, `flows` does what an agent does in a day.
// The argument is a file: {mode, modules, owner, repo, issues, agents: [{base, token, login}]}. Prints one JSON value.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const require = createRequire(plan.modules + "/x.js");
const { Octokit } = await import(pathToFileURL(require.resolve("octokit")).href);
const { owner, repo } = plan;

const client = ({ base, token }) =>
  new Octokit({ auth: token, baseUrl: base, throttle: { enabled: false }, log: { debug() {}, info() {}, warn() {}, error() {} } });

async function told(call) {
  try {
    const { status, data } = await call();
    return { status, data };
  } catch (error) {
    return { status: error.status, message: error.message };
  }
}

async function race() {
  const clients = plan.agents.map(client);
  const ends = [];
  for (const issue_number of plan.issues) {
    const each = clients.map(async (octokit, at) => {
      const assignees = [plan.agents[at].login];
      const issue = { owner, repo, issue_number };
      const answer = await told(() =>
        at % 2 ? octokit.rest.issues.addAssignees({ ...issue, assignees }) : octokit.rest.issues.update({ ...issue, assignees }),
      );
      return answer.status < 300 ? plan.agents[at].login + "@" + at : answer.status;
    });
    ends.push(await Promise.all(each));
  }
  return ends;
}

const names = (rows, name) => rows.map((row) => row[name]);
const shown = ({ number, title, state, assignees, labels, comments }) => ({
  number, title, state, comments, assignees: names(assignees, "login"), labels: names(labels, "name"),
});

async function flows() {
  const [agent] = plan.agents;
  const octokit = client(agent);
  const [issue_number] = plan.issues;
  const issue = { owner, repo, issue_number };
  const steps = [];
  const step = async (what, call, show = shown) => {
    const answer = await told(call);
    steps.push([what, answer.status, answer.data ? show(answer.data) : answer.message]);
  };
  await step("list", () => octokit.rest.issues.listForRepo({ owner, repo, assignee: "none", per_page: 2 }), (rows) => names(rows, "number"));
  const pages = await octokit.paginate(octokit.rest.issues.listForRepo, { owner, repo, state: "all", per_page: 3 });
  steps.push(["paginate", pages.length, names(pages, "number")]);
  await step("claim", () => octokit.rest.issues.addAssignees({ ...issue, assignees: [agent.login] }));
  await step("label", () => octokit.rest.issues.addLabels({ ...issue, labels: ["in-progress"] }), (rows) => names(rows, "name"));
  await step("unlabel", () => octokit.rest.issues.removeLabel({ ...issue, name: "todo" }), (rows) => names(rows, "name"));
  await step("no such label", () => octokit.rest.issues.removeLabel({ ...issue, name: "nothing" }), (rows) => names(rows, "name"));
  await step("comment", () => octokit.rest.issues.createComment({ ...issue, body: "on it" }), ({ body, user }) => [body, user.login]);
  await step("labels", () => octokit.rest.issues.setLabels({ ...issue, labels: ["done", "area/ui"] }), (rows) => names(rows, "name"));
  await step("unlabel with a slash", () => octokit.rest.issues.removeLabel({ ...issue, name: "area/ui" }), (rows) => names(rows, "name"));
  await step("close", () => octokit.rest.issues.update({ ...issue, state: "closed", state_reason: "completed" }));
  await step("reopen", () => octokit.rest.issues.update({ ...issue, state: "open" }));
  await step("title", () => octokit.rest.issues.update({ ...issue, title: "better" }));
  await step("release", () => octokit.rest.issues.removeAssignees({ ...issue, assignees: [agent.login] }));
  await step("by number", () => octokit.request("PATCH /repositories/{id}/issues/{n}", { id: plan.repo_id, n: issue_number, assignees: [agent.login] }));
  const query = "query($o:String!,$r:String!,$n:Int!){repository(owner:$o,name:$r){issue(number:$n){id assignees(first:9){nodes{login}}}}}";
  const found = await octokit.graphql(query, { o: owner, r: repo, n: issue_number });
  steps.push(["graphql", found.repository.issue.assignees.nodes]);
  const close = "mutation($id:ID!){closeIssue(input:{issueId:$id}){issue{state}}}";
  steps.push(["close by graphql", await octokit.graphql(close, { id: found.repository.issue.id })]);
  await step("missing", () => octokit.rest.issues.get({ owner, repo, issue_number: 9999 }));
  return steps;
}

console.log(JSON.stringify(await (plan.mode === "race" ? race() : flows())));
