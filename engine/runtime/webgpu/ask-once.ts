import type { GpuContext } from './context.ts';

/** A question to a device whose answer does not change: asked when it is first needed, and answered from then on. */
export function askOnce<T>(ask: (context: GpuContext) => Promise<T>): (context: GpuContext) => Promise<T> {
  const answers = new WeakMap<GpuContext, Promise<T>>();
  return (context) => {
    let answer = answers.get(context);
    if (!answer) {
      answer = ask(context);
      answers.set(context, answer);
    }
    return answer;
  };
}
