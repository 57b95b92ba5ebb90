// Clients that behave: each request must be answered, byte for byte, and each handshake get the certificate of the moment.
import type { Buffer } from "node:buffer";
import { setTimeout as delay } from "node:timers/promises";
import type { TlsVersion } from "../../mod.ts";
import type { Identity } from "./authorities.ts";
import { ACTIVITIES, type Client, Http1Client, Http2Client } from "./connections.ts";
import { certificateFor, type Entry } from "./ledger.ts";
import { Random } from "./random.ts";
import type { Target } from "./server.ts";
import type { Protocol } from "./servers.ts";
import { type SoakRun, Violation } from "./soak_run.ts";
import { NAMES, SPREAD_MS } from "./states.ts";

/** Longer than the longest visit, on a machine that is busy. */
const PATIENCE_MS = 120_000;
const ANYBODY: Identity = { name: "anybody" };
/** How long after a swap a refused client may still be served: the drain, and a busy machine. */
const MOST_REFUSED_MS = SPREAD_MS + 20_000;
const PROBE_MS = 5_000;
/** Until a report of the server has come. */
const REPORT_MS = 2_000;

/** A session that a server has given, and to whom. */
interface Ticket {
  readonly target: Target;
  readonly identity: Identity;
  readonly servername: string;
  readonly version: TlsVersion;
  readonly session: Buffer;
}

/** A connection from its start on. */
interface Visit extends Omit<Ticket, "session"> {
  readonly what: string;
  readonly ticket: Ticket | undefined;
  /** Whether a ticket is used where and by whom it was got. */
  readonly isOwn: boolean;
  readonly mark: number;
  readonly began: number;
}

/** The clients, and the sessions that they keep. */
export class Clients {
  readonly #run: SoakRun;
  readonly #tickets = new Map<string, Ticket>();

  constructor(run: SoakRun) {
    this.#run = run;
  }

  /** One connection of a client to a server, for some activity. */
  async visit(random: Random): Promise<void> {
    const { name: what, protocol, run: activity } = random.weighted(ACTIVITIES);
    const visit = this.#plan(what, protocol, random);
    const { target, identity } = visit;
    let holder: Identity | undefined;
    try {
      await within(PATIENCE_MS, async (onClose) => {
        const client = await open(this.#run, protocol, visit);
        onClose(() => client.close());
        holder = await this.#enter(client, visit, random);
        await activity(client as Http1Client, random);
        this.#run.count(`request ${what}`);
        this.#run.count(`server ${target.kind} (${target.state})`);
      });
    } catch (error) {
      const context = `${what}, ${target.kind} (${target.state}), ${identity.name}${holder ? ", after its start" : ""}`;
      if (error instanceof Violation) throw new Violation(`${error.message}: ${context}`);
      const outcome = this.#endOf(visit, holder ?? identity) ?? (holder ? undefined : this.#refusalOf(visit));
      if (!outcome) throw new Violation(`a good request has failed: ${context}`, { cause: error });
      this.#run.count(outcome);
    }
  }

  #plan(what: string, protocol: Protocol, random: Random): Visit {
    const speaking = this.#run.targets.filter(({ speaks }) => speaks.includes(protocol));
    const tickets = [...this.#tickets.values()].filter(({ target }) => speaking.includes(target));
    const ticket = what === "resumption" && tickets.length > 0 ? random.pick(tickets) : undefined;
    // Mostly where and by whom it was got; sometimes elsewhere, or by another client.
    const isOwn = !ticket || random.chance(0.8);
    const target = ticket && isOwn ? ticket.target : random.pick(speaking);
    const anyone = target.state === "mutual" ? random.pick(this.#run.authorities.identities) : ANYBODY;
    const anyName = random.pick([...NAMES[target.state], "unknown.test"]);
    return {
      what,
      ticket,
      isOwn,
      target,
      identity: ticket && isOwn ? ticket.identity : anyone,
      servername: ticket && isOwn ? ticket.servername : anyName,
      version: ticket?.version ?? random.pick<TlsVersion>(["TLSv1.2", "TLSv1.3"]),
      mark: this.#run.ledgers.get(target.state)!.mark(),
      began: performance.now(),
    };
  }

  /** The first request. Returns who the server takes the client for. */
  async #enter(client: Client, visit: Visit, random: Random): Promise<Identity> {
    const { target, identity, servername, version, ticket } = visit;
    const { socket } = client;
    const isReused = socket.isSessionReused();
    // A resumed handshake sends no certificate.
    if (!isReused) await this.#requireCurrent(socket.getPeerCertificate().fingerprint256, visit);
    // Of TLS 1.3 only what comes after the handshake can be resumed (RFC 8446 section 4.6.1).
    let session = version === "TLSv1.2" ? socket.getSession() : undefined;
    socket.on("session", (latest) => session = latest);
    await client.echo(random);
    // A resumed session is of the client that it was given to.
    const holder = ticket && isReused ? ticket.identity : identity;
    if (!this.#answersOf(visit, holder).includes(true)) {
      throw new Violation(`served a client that is not trusted${isReused ? ", at a resumption" : ""}`);
    }
    if (isReused) this.#run.count("sessions resumed");
    const echo = client.echo.bind(client);
    client.echo = async (random) => {
      await echo(random);
      this.#requireTrusted(visit, holder);
    };
    socket.once("close", () => {
      if (!session) return;
      const key = `${target.port} ${holder.name} ${servername} ${version}`;
      this.#tickets.set(key, { target, identity: holder, servername, version, session });
    });
    return holder;
  }

  /** What a swap did to a connection, if it may have ended it. */
  #endOf(visit: Visit, holder: Identity): string | undefined {
    const { state, knowsClients } = visit.target;
    const isReplaced = this.#entriesOf(visit).length > 1;
    if (state !== "names" && state !== "mutual") return isReplaced ? "connections drained" : undefined;
    const mayEnd = knowsClients ? this.#answersOf(visit, holder).includes(false) : state === "mutual" && isReplaced;
    return mayEnd ? "connections ended with their trust" : undefined;
  }

  /** Why a connection was not open yet, if it need not be. */
  #refusalOf(visit: Visit): string | undefined {
    if (!visit.isOwn || this.#answersOf(visit, visit.identity).includes(false)) return "clients refused";
    return this.#run.excuses.since(visit.began) ? "connections failed during a disturbance" : undefined;
  }

  /** A certificate of before is served only if the new one could not be, which the server reports at once. */
  async #requireCurrent(fingerprint256: string, visit: Visit): Promise<void> {
    const entries = this.#entriesOf(visit);
    if (entries.some((entry) => certificateFor(entry, visit.servername) === fingerprint256)) return;
    const isForeign = entries.some(({ served }) => Object.values(served).includes(fingerprint256));
    if (isForeign) throw new Violation(`served a certificate of another name: ${fingerprint256}`);
    await delay(REPORT_MS);
    if (!this.#run.late.since(visit.began)) throw new Violation(`served a replaced certificate: ${fingerprint256}`);
    this.#run.count("replaced certificates after a late start");
  }

  /** A client that all configurations refuse is disconnected in time. */
  #requireTrusted({ target: { state }, began }: Visit, holder: Identity): void {
    if (state !== "mutual" || this.#run.excuses.since(began)) return;
    const refusedMs = this.#run.ledgers.get(state)!.refusedMs(holder.name);
    if (refusedMs > MOST_REFUSED_MS) {
      throw new Violation(`serves a client that has not been trusted for ${refusedMs} ms`);
    }
  }

  #entriesOf({ target, mark }: Visit): readonly Entry[] {
    return this.#run.ledgers.get(target.state)!.since(mark);
  }

  /** Whether the configurations that a connection may have met let a client in. */
  #answersOf(visit: Visit, { name }: Identity): boolean[] {
    return this.#entriesOf(visit).map(({ trusted }) => visit.target.state !== "mutual" || trusted.includes(name));
  }
}

/** Whether a server serves its latest configuration to a client that it trusts. */
export async function servesLatest(run: SoakRun, target: Target): Promise<boolean> {
  const { latest } = run.ledgers.get(target.state)!;
  const identity = run.authorities.identities.find(({ name }) => latest.trusted.includes(name)) ?? ANYBODY;
  const protocol = target.speaks[0]!;
  const probe = within(PROBE_MS, async (onClose) => {
    const client = await open(run, protocol, { target, identity, servername: "localhost", version: "TLSv1.3" });
    onClose(() => client.close());
    await client.echo(new Random("probe"));
    const { fingerprint256 } = client.socket.getPeerCertificate();
    if (fingerprint256 !== certificateFor(latest, "localhost")) throw new Error("another certificate");
  });
  return await probe.then(() => true, () => false);
}

function open(
  { authorities }: SoakRun,
  protocol: Protocol,
  visit: Pick<Visit, "target" | "identity" | "servername" | "version"> & { readonly ticket?: Ticket | undefined },
): Promise<Client> {
  const { target: { port, state }, identity: { cert, key }, servername, version, ticket } = visit;
  const options = {
    port,
    ca: authorities.root.cert,
    servername,
    rejectUnauthorized: true,
    maxVersion: version,
    ...(!NAMES[state].includes(servername) && { checkServerIdentity: () => undefined }),
    ...(cert && key && { cert, key }),
    ...(ticket && { session: ticket.session }),
  };
  return protocol === "http2" ? Http2Client.open(options) : Http1Client.open(options);
}

/** Does something that must end in time, and closes in any case what it opened. */
async function within(ms: number, body: (onClose: (close: () => void) => void) => Promise<void>): Promise<void> {
  const end = new AbortController();
  const { signal } = end;
  const late = delay(ms, undefined, { signal }).then(() => {
    throw new Violation(`no end within ${ms} ms`);
  });
  late.catch(() => {});
  await Promise.race([late, body((close) => signal.aborted ? close() : signal.addEventListener("abort", close))])
    .finally(() => end.abort());
}
