/**
 * The one error type that reaches a person. `code` is stable and machine-readable; `message` says what happened, to which
 * file or layer, with which value against which limit, and what to do.
 */
export class DBellError extends Error {
  readonly code: ErrorCode;
  /** What of the request it is about, where that is one thing and known. */
  readonly field: ErrorField | undefined;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; field?: ErrorField }) {
    super(message, options);
    this.name = 'DBellError';
    this.code = code;
    this.field = options?.field;
  }
}

/** Parts of a request that an error can be about, so that a page can say it there. */
export const errorFields = ['output'] as const;
export type ErrorField = (typeof errorFields)[number];

/** Every code, with what it means. */
export const errorCodes = {
  'invalid-input': 'an argument or a setting is out of its range',
  'invalid-model': 'a model file or folder is damaged or contradicts itself',
  'unsupported-model': 'the model is well-formed but uses something this version cannot run',
  'invalid-text': 'a text source cannot be read or is too small',
  'invalid-package': 'a packed model is damaged or was written by a newer version',
  'invalid-checkpoint': 'a checkpoint belongs to other inputs or is damaged',
  'invalid-history': 'the history database cannot be used',
  'output-exists': 'the output folder exists already or another process writes to it',
  'disk-full': 'a volume has no room',
  'disk-error': 'reading or writing a file failed',
  'out-of-memory': 'not enough memory',
  'gpu-unavailable': 'there is no GPU that can run this',
  'device-lost': 'the GPU was lost while it worked',
  'not-found': 'a file, run or package does not exist',
  'network-off': 'something needs the network and the network switch is off',
  'network-error': 'a server could not be reached, or did not answer as it should',
  'access-denied': 'a server wants a token, an accepted licence or other rights',
  'damaged-download': 'what was fetched is not what the server said it would be',
  stopped: 'stopped by the user; resumable',
  'worker-died': 'the work process ended unexpectedly',
  'connection-lost': 'the connection to the engine was lost',
  internal: 'a defect of this program',
} as const;

export type ErrorCode = keyof typeof errorCodes;
