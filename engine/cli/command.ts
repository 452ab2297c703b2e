import type { Command } from 'commander';
import type { NetworkFlags, OutputOptions } from './output.ts';
import type { CommandSession } from './session.ts';

/** Runs an action with a session and notes its exit code. */
export type Run = (
  options: OutputOptions & NetworkFlags,
  command: (session: CommandSession) => Promise<void>,
) => Promise<void>;

/** Every command adds itself to the program. */
export type AddCommand = (program: Command, run: Run) => void;
