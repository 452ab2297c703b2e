import { DBellError } from '../../../engine/contract/errors.ts';
import { type ConnectionState, connectToEngine, type EngineClient } from '../lib/client.ts';

/** The one connection of this window. */
export const engine: EngineClient = connectToEngine();

class Connection {
  state: ConnectionState = $state('connecting');
  /** Whether there was a connection before: then what is on the screen is old, not absent. */
  wasConnected = $state(false);
}

export const connection = new Connection();

engine.onState((state) => {
  connection.state = state;
  if (state === 'connected') connection.wasConnected = true;
});

/** Runs at every (re)connection, the present one included: state that lives in the engine is asked for anew. */
export function onConnected(load: () => void | Promise<void>): void {
  engine.onState((state) => {
    if (state === 'connected') void Promise.resolve(load()).catch(ignoreLostConnection);
  });
}

/** A call that fails since the connection was lost is made again when it is back. */
function ignoreLostConnection(error: unknown): void {
  if (!(error instanceof DBellError) || error.code !== 'connection-lost') throw error;
}

export function asError(error: unknown): DBellError {
  if (error instanceof DBellError) return error;
  return new DBellError('internal', error instanceof Error ? error.message : String(error));
}
