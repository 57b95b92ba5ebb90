// The parts of the bench, in the order in which they are measured and reported.
import { measureAcceptPath } from "./accept.ts";
import { measureClientAuth } from "./client_auth.ts";
import { measureFleet } from "./fleet.ts";
import { measureIdle } from "./idle.ts";
import { measureLoading } from "./loading.ts";
import { measureNames } from "./names.ts";
import { measureReload } from "./reload.ts";
import { measureRoots } from "./roots.ts";
import { measureRotation } from "./rotation.ts";
import { measureSpeed } from "./speed.ts";
import type { Bench } from "./support/bench.ts";
import type { Table } from "./support/report.ts";
import { measureSwap } from "./swap.ts";

export const PARTS: Readonly<Record<string, (bench: Bench) => Promise<Table[]>>> = {
  speed: measureSpeed,
  rotation: measureRotation,
  idle: measureIdle,
  clients: measureClientAuth,
  accept: measureAcceptPath,
  swap: measureSwap,
  loading: measureLoading,
  names: measureNames,
  reload: measureReload,
  roots: measureRoots,
  fleet: measureFleet,
};
