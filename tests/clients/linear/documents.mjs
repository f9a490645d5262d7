// The documents of Linear's own client, one a line, as {"name", "query"}.
import { LinearDocument } from '@linear/sdk';

for (const [name, document] of Object.entries(LinearDocument)) {
  if (name.endsWith('Document') && String(document).trim() !== '') {
    console.log(JSON.stringify({ name, query: String(document) }));
  }
}
