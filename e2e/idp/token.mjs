// Logs a user in as a browser would and prints an access token: node token.mjs USER [CLIENT] [AUDIENCE]
//
// The client `agent-brief` gets a token that ends within a second.
import { createHash, randomBytes } from 'node:crypto';

const issuer = process.env.ISSUER ?? 'https://idp.idp.svc';
const [user, client = 'agent', audience = 'https://demo.snowflakecomputing.com'] = process.argv.slice(2);
const callback = 'https://agent.invalid/callback';
const verifier = randomBytes(32).toString('base64url');

const cookies = new Map();
async function visit(address) {
  const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  const answer = await fetch(address, { redirect: 'manual', headers: cookie ? { cookie } : {} });
  for (const line of answer.headers.getSetCookie()) {
    const [name, value] = line.split(';')[0].split(/=(.*)/s);
    cookies.set(name, value);
  }
  const next = answer.headers.get('location');
  if (!next) throw new Error(`${address}: ${answer.status} ${await answer.text()}`);
  return new URL(next, issuer);
}

const request = new URL('/auth', issuer);
request.search = new URLSearchParams({
  client_id: client,
  response_type: 'code',
  redirect_uri: callback,
  scope: 'openid email groups session:role-any',
  resource: audience,
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256',
});

let address = request;
for (let step = 0; step < 6 && !address.href.startsWith(callback); step += 1) {
  if (address.pathname.startsWith('/login/')) address.searchParams.set('user', user);
  address = await visit(address);
}
const code = address.searchParams.get('code');
if (!code) throw new Error(`no code: ${address.search}`);

const answer = await fetch(new URL('/token', issuer), {
  method: 'POST',
  body: new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: client,
    code,
    redirect_uri: callback,
    code_verifier: verifier,
    resource: audience,
  }),
});
const tokens = await answer.json();
if (!tokens.access_token) throw new Error(JSON.stringify(tokens));
process.stdout.write(tokens.access_token);
