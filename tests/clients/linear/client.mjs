// Linear's own client at an address: each step, and what it came to.
//   node client.mjs URL KEY ISSUE USER STATE
import { LinearClient } from '@linear/sdk';

const [apiUrl, apiKey, issue, assigneeId, stateId] = process.argv.slice(2);
const client = new LinearClient({ apiUrl, apiKey });
const steps = {
  viewer: async () => (await client.client.rawRequest('{ viewer { displayName } }')).data.viewer.displayName,
  claim: async () => (await client.updateIssue(issue, { assigneeId })).success,
  again: async () => (await client.updateIssue(issue, { assigneeId })).success,
  move: async () => (await client.updateIssue(issue, { stateId })).success,
  archive: async () => (await client.archiveIssue(issue)).success,
};
for (const [step, run] of Object.entries(steps)) {
  try {
    console.log(JSON.stringify({ step, told: await run() }));
  } catch (error) {
    console.log(JSON.stringify({ step, error: error.constructor.name, message: error.message }));
  }
}
