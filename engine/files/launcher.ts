/** How often the process above is looked at; a signal would take no longer to be noticed by a person. */
const pollMs = 1000;

/**
 * Calls back once when this process was started by npm (`npx`, `npm run`) and npm's shell is gone. npm hands a signal to that shell, which dies of it without
 * telling the program in it: work would go on that nobody can stop any more. Elsewhere a program may outlive what started it, and nothing is watched.
 *
 * @returns ends the watch
 */
export function onLauncherGone(listener: () => void): () => void {
  if (process.env.npm_command === undefined || process.platform === 'win32') return () => {};
  const launcher = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === launcher) return;
    clearInterval(timer);
    listener();
  }, pollMs);
  timer.unref();
  return () => clearInterval(timer);
}
