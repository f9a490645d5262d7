// Claims and moves one card with trello.js as it comes from its registry: what it was told, a line each.
// node trello.mjs FOLDER BASE KEY TOKEN CARD MEMBER LIST
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [folder, host, apiKey, apiToken, id, value, idList] = process.argv.slice(2);
const found = createRequire(path.join(folder, 'index.js')).resolve('trello.js/package.json');
const { createTrelloClient } = await import(pathToFileURL(path.join(path.dirname(found), 'dist/index.js')));
const client = createTrelloClient({ host, apiKey, apiToken, skipParsing: true });

async function step(what, call) {
  try {
    const told = await call();
    console.log(JSON.stringify({ what, told: Array.isArray(told) ? told.map((one) => one.id) : told.idList }));
  } catch (error) {
    console.log(JSON.stringify({ what, error: error.message }));
  }
}

await step('add', () => client.cards.addCardMember({ id, value }));
await step('add again', () => client.cards.addCardMember({ id, value }));
await step('move', () => client.cards.updateCard({ id, idList }));
await step('set', () => client.cards.updateCard({ id, idMembers: [value] }));
