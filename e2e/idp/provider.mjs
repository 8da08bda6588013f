// An OpenID provider whose users are the humans of the test cluster, under the same names and groups.
//
// ISSUER         the issuer's address as everybody reaches it (https://idp.idp.svc)
// TLS_CERT, TLS_KEY   files with its certificate and key
// PORT           where to listen (8443)
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const issuer = process.env.ISSUER ?? 'https://idp.idp.svc';
const port = Number(process.env.PORT ?? 8443);

const people = new Map(
  [
    ['alice', ['analysts']],
    ['bob', ['data-stewards']],
    ['carol', ['data-stewards']],
    ['dave', ['developers']],
    ['eve', []],
  ].map(([name, groups]) => [name, { sub: name, email: `${name}@example.com`, email_verified: true, groups }]),
);

// A client whose name ends so gets tokens that are over before anybody can use them for long.
const seconds = (client) => (client.clientId.endsWith('-brief') ? 1 : 3600);

const agent = (name) => ({
  client_id: name,
  token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code'],
  response_types: ['code'],
  redirect_uris: ['https://agent.invalid/callback'],
});

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: [
    agent('agent'),
    agent('agent-brief'),
    {
      client_id: 'reports',
      client_secret: 'the reports service of the test cluster',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  conformIdTokenClaims: false,
  interactions: { url: (_context, interaction) => `/login/${interaction.uid}` },
  findAccount: (_context, id) => people.has(id) && { accountId: id, claims: () => people.get(id) },
  // Nobody is asked whether the agent may know who they are.
  async loadExistingGrant(context) {
    const grant = new provider.Grant({
      clientId: context.oidc.client.clientId,
      accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email groups');
    for (const resource of [context.oidc.params.resource ?? []].flat()) {
      grant.addResourceScope(resource, 'session:role-any');
    }
    await grant.save();
    return grant;
  },
  extraTokenClaims: (_context, token) => {
    const person = people.get(token.accountId);
    return person && { email: person.email, groups: person.groups };
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, audience, client) => ({
        audience,
        scope: 'session:role-any',
        accessTokenFormat: 'jwt',
        accessTokenTTL: seconds(client),
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  ttl: { IdToken: (_context, _token, client) => seconds(client), Interaction: 60, Session: 60, Grant: 3600 },
});
// The certificate ends here, but the addresses in answers are the issuer's.
provider.proxy = true;

const answer = provider.callback();
createServer(
  { cert: readFileSync(process.env.TLS_CERT), key: readFileSync(process.env.TLS_KEY) },
  async (request, response) => {
    const address = new URL(request.url, issuer);
    request.headers['x-forwarded-proto'] = 'https';
    if (!address.pathname.startsWith('/login/')) {
      return answer(request, response);
    }
    try {
      const login = { accountId: address.searchParams.get('user') };
      await provider.interactionFinished(request, response, { login });
    } catch (error) {
      response.writeHead(400).end(`${error.message}\n`);
    }
  },
).listen(port, () => console.log(`${issuer} on port ${port}`));
