import { z } from 'zod';
import { DBellError, type ErrorCode, type ErrorField, errorCodes, errorFields } from './errors.ts';
import { issueInWords } from './wording.ts';

/** How an error crosses a process or a socket: its code and its message; a stack never leaves the process it arose in. */
export const errorPayloadSchema = z.object({
  code: z.enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]]),
  message: z.string(),
  /** What of the request it is about, where that is one thing and known. */
  field: z.enum(errorFields).optional(),
});
export type ErrorPayload = z.infer<typeof errorPayloadSchema>;

/** System errors by which a person can act, in the contract's words. */
const systemErrors: Readonly<Record<string, { code: ErrorCode; say: string }>> = {
  ENOSPC: { code: 'disk-full', say: 'the disk is full; free some room and resume' },
  EDQUOT: { code: 'disk-full', say: 'your disk quota is used up; free some room and resume' },
  EFBIG: { code: 'disk-full', say: 'the file would pass the largest size allowed here' },
  ENOENT: { code: 'not-found', say: 'no such file or folder' },
  EACCES: { code: 'disk-error', say: 'access is denied; check the permissions' },
  EPERM: { code: 'disk-error', say: 'the operation is not permitted; check the permissions' },
  ENOTDIR: { code: 'disk-error', say: 'a part of the path is a file, not a folder; choose another path' },
  ENAMETOOLONG: { code: 'disk-error', say: 'the name is too long; choose a shorter one' },
  ELOOP: { code: 'disk-error', say: 'links in the path lead in a circle; choose another path' },
  EROFS: { code: 'disk-error', say: 'the disk is read-only; choose another folder' },
  EIO: { code: 'disk-error', say: 'the disk reports a failure' },
  EMFILE: { code: 'disk-error', say: 'too many open files; raise the limit (ulimit -n)' },
  ENOMEM: { code: 'out-of-memory', say: 'the system has no memory left; close other programs' },
};

/** Any thrown value as the contract's error. Unknown ones are `internal`, with their own message. */
export function toErrorPayload(error: unknown): ErrorPayload {
  if (error instanceof DBellError) {
    const { code, message, field } = error;
    return { code, message, ...(field === undefined ? {} : { field }) };
  }
  if (error instanceof Error) {
    const { code, path } = error as { code?: string; path?: string };
    const known = code === undefined ? undefined : systemErrors[code];
    if (known) return { code: known.code, message: `${path ? `${path}: ` : ''}${known.say} (${code})` };
    if (/array buffer allocation failed|invalid array length|bad_alloc/i.test(error.message)) {
      return {
        code: 'out-of-memory',
        message: `not enough memory: ${error.message}; use a shorter context or fewer threads`,
      };
    }
    return { code: 'internal', message: error.message };
  }
  return { code: 'internal', message: String(error) };
}

/** The error again, on the other side. */
export function fromErrorPayload(payload: ErrorPayload): DBellError {
  return new DBellError(payload.code, payload.message, { field: payload.field });
}

/** Does what is about one field of a request; whatever it throws says so. */
export function concerning<T>(field: ErrorField, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code, message } = toErrorPayload(error);
    throw new DBellError(code, message, { cause: error, field });
  }
}

/** What a schema found, in one line: `windows: expected a number, got "x"`. */
export function describeIssues(error: z.ZodError): string {
  const issues = error.issues.slice(0, 5).map((issue) => {
    const where = issue.path.map(String).join('.');
    return where === '' ? issue.message : `${where}: ${issue.message}`;
  });
  const more = error.issues.length - issues.length;
  return issues.join('; ') + (more > 0 ? `; and ${more} more` : '');
}

/** The field that all issues are about. */
function fieldOf({ issues }: z.ZodError): ErrorField | undefined {
  return issues.every(({ path: [name] }) => name === 'out') ? 'output' : undefined;
}

/** Parses or throws a DBellError `code` that says what was expected of `what`. */
export function parseAs<S extends z.ZodType>(
  schema: S,
  value: unknown,
  what: string,
  code: ErrorCode = 'invalid-input',
): z.output<S> {
  const result = schema.safeParse(value, { error: issueInWords });
  if (result.success) return result.data;
  throw new DBellError(code, `${what}: ${describeIssues(result.error)}`, {
    cause: result.error,
    field: fieldOf(result.error),
  });
}
