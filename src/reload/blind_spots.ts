import { readFailureReason } from "../file_errors.ts";

/**
 * The message that Deno has in place of the code `ENOSPC` (2.8 to 2.9.6, from the crate notify,
 * `ErrorKind::MaxFilesWatch`). "Reloader.watch() polls, and names the fix, where max_inotify_watches is 0" fails where
 * it changes.
 */
const DENO_NO_WATCHES = "OS file watch limit reached";

/** A directory that cannot be watched. */
export interface WatchFailure {
  readonly directory: string;
  readonly error: Error;
}

/** The reason why a directory cannot be watched, and the remedy. */
export function unwatchedSpot({ directory, error }: WatchFailure): string {
  return `Cannot watch "${directory}": ${reasonOf(directory, error)}`;
}

/** A file that is mounted alone never gets another inode. The host has replaced the file, so the inode has no name. */
export function replacedMountSpot(path: string): string {
  return `Cannot see changes of "${path}": it is mounted as a single file, and the mounted file was replaced; mount ` +
    "the folder instead";
}

/** Files that are missing for longer than it takes to replace them. */
export function missingSpot(paths: readonly string[]): string {
  return `Cannot find ${namesOf(paths)}: what was loaded before stays in use until the files are back`;
}

/** A FIFO has no content before a process writes to it. */
export function fifoSpot(path: string): string {
  return `Cannot see changes of "${path}": it is a FIFO, which can be loaded but not watched; write a regular file, or ` +
    "reload by a signal";
}

/** The poll has found a change that caused no event. */
export function silentSpot(paths: readonly string[]): string {
  return `Cannot see changes of ${
    namesOf(paths)
  } at once: the system reported none when they changed, as network and FUSE file ` +
    "systems do; shorten 'pollIntervalMs', or reload by a signal";
}

const namesOf = (paths: readonly string[]) => paths.map((path) => `"${path}"`).join(", ");

function reasonOf(directory: string, error: Error): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === "NotCapable") return readFailureReason(directory, error);
  if (code === "ENOSPC" || message.startsWith(DENO_NO_WATCHES)) {
    return "the limit of inotify watches is reached; raise it with: sysctl fs.inotify.max_user_watches=524288";
  }
  if (code === "EMFILE") {
    return "the limit of inotify instances or of open files is reached; raise it with: " +
      "sysctl fs.inotify.max_user_instances=1024, or ulimit -n";
  }
  if (code === "EACCES" || code === "EPERM") return "the process needs permission to read and search the folder";
  return message;
}
