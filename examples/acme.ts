// An HTTPS server on Node that gets its own certificate by ACME (RFC 8737, on its own port), and renews it without a restart:
//   ACME_DIRECTORY=https://acme-v02.api.letsencrypt.org/directory PORT=443 node examples/acme.ts www.example.com
import { once } from "node:events";
import { createServer } from "node:https";
import process from "node:process";
import acme from "acme-client";
import { TlsConfig, TlsState } from "@x/tls-reload";
import { attach } from "@x/tls-reload/node";
import { Reloader } from "@x/tls-reload/reload";

const RENEW_EVERY_MS = 7 * 86_400_000;
const [name = "localhost"] = process.argv.slice(2);
const directoryUrl = process.env["ACME_DIRECTORY"] ?? acme.directory.letsencrypt.staging;

const client = new acme.Client({ directoryUrl, accountKey: await acme.crypto.createPrivateEcdsaKey() });

/** Orders a certificate. The certificate authority validates the name over the port of this server. */
async function order(): Promise<TlsConfig> {
  const [key, csr] = await acme.crypto.createCsr({ altNames: [name] }, await acme.crypto.createPrivateEcdsaKey());
  let answer: Disposable | undefined;
  const cert = await client.auto({
    csr,
    termsOfServiceAgreed: true,
    challengePriority: ["tls-alpn-01"],
    skipChallengeVerification: true, // the client cannot, the authority does
    challengeCreateFn: async (authz, _challenge, keyAuthorization) => {
      answer = state.answerAlpnChallenge(name, await challengePair(authz, keyAuthorization));
    },
    challengeRemoveFn: async () => await answer?.[Symbol.dispose](),
  });
  return new TlsConfig({ cert, key: key.toString() });
}

async function challengePair(authz: acme.Authorization, keyAuthorization: string) {
  const [key, cert] = await acme.crypto.createAlpnCertificate(authz, keyAuthorization);
  return { cert: cert.toString(), key: key.toString() };
}

// Served until the first order is complete; no client trusts it.
const { cert, key } = await challengePair({ identifier: { type: "dns", value: name } } as acme.Authorization, "");
const state = new TlsState(new TlsConfig({ cert, key }));
const server = createServer((_request, response) => response.end("hello\n"));
attach(state, server);
const { PORT = "8443", HOST = "0.0.0.0" } = process.env;
await once(server.listen(Number(PORT), HOST), "listening");

const reloader = new Reloader(state, order);
reloader.addEventListener("swap", ({ detail }) => console.log("serves", detail.config.leaf.fingerprint256));
await reloader.reload();
reloader.every(RENEW_EVERY_MS);
reloader.onSignal("SIGHUP"); // renews now
