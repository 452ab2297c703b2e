import { expect, test } from 'vitest';
import { z } from 'zod';
import { calls } from '../../engine/contract/calls.ts';
import { createClient } from '../../engine/contract/client.ts';
import {
  errorPayloadSchema,
  fromErrorPayload,
  parseAs,
  toErrorPayload,
} from '../../engine/contract/error-payload.ts';
import { DBellError } from '../../engine/contract/errors.ts';
import { eventSchema } from '../../engine/contract/events.ts';
import { limits } from '../../engine/contract/limits.ts';
import { quantizationCalls } from '../../engine/contract/quantization.ts';

test('every call refuses an input with a field that it does not know', () => {
  for (const [name, call] of Object.entries(calls)) {
    expect(call.input.safeParse({ unheardOf: 1 }).success, name).toBe(false);
    expect(call.input.safeParse(null).success, name).toBe(false);
    expect(call.input.safeParse([]).success, name).toBe(false);
  }
});

test('every call has a JSON Schema, so that nothing but JSON crosses', () => {
  for (const [name, call] of Object.entries(calls)) {
    expect(z.toJSONSchema(call.input, { io: 'input' }), name).toHaveProperty('type', 'object');
    expect(z.toJSONSchema(call.output), name).toBeTypeOf('object');
  }
});

const quantize = {
  model: '/models/a',
  recipe: 'dbellquant',
  calibration: { bundled: 'general' },
  out: '/out',
};

test('quantize fills in its defaults', () => {
  const parsed = quantizationCalls.quantize.input.parse(quantize);
  expect(parsed).toMatchObject({ embeddingBits: 16, windows: 64, threads: 0, set: [] });
  expect(parsed.activationBits).toBeUndefined();
});

test.each([
  ['an empty path', { model: '' }],
  ['a path with a zero byte', { model: 'a\0b' }],
  ['a path longer than the system allows', { out: 'x'.repeat(limits.pathLength + 1) }],
  ['no windows', { windows: 0 }],
  ['half a window', { windows: 1.5 }],
  ['a context of one token, which scores nothing', { context: 1 }],
  ['five activation bits', { activationBits: 5 }],
  ['five embedding bits', { embeddingBits: 5 }],
  ['a negative seed', { seed: -1 }],
  ['a number as text', { windows: '64' }],
  ['not a number', { windows: Number.NaN }],
  ['infinity', { windows: Number.POSITIVE_INFINITY }],
  ['a calibration text that is two things', { calibration: { path: 'a', bundled: 'b' } }],
  ['more settings than a recipe has fields', { set: Array(100).fill({ key: 'a', value: 'b' }) }],
])('quantize refuses %s', (_, change) => {
  expect(quantizationCalls.quantize.input.safeParse({ ...quantize, ...change }).success).toBe(false);
});

test('an error crosses as code and message and arrives as the same error', () => {
  const sent = new DBellError('disk-full', 'no room');
  const crossed = errorPayloadSchema.parse(JSON.parse(JSON.stringify(toErrorPayload(sent))));
  expect(fromErrorPayload(crossed)).toMatchObject({ code: 'disk-full', message: 'no room' });
  expect(crossed).toEqual({ code: 'disk-full', message: 'no room' });
});

test.each([
  ['ENOSPC', 'disk-full'],
  ['ENOENT', 'not-found'],
  ['EROFS', 'disk-error'],
  ['ENOMEM', 'out-of-memory'],
])('a system error %s becomes %s and names the path', (code, expected) => {
  const error = Object.assign(new Error('x'), { code, path: '/a/b' });
  expect(toErrorPayload(error)).toMatchObject({
    code: expected,
    message: expect.stringContaining('/a/b'),
  });
});

test('what is thrown without being an error still crosses', () => {
  expect(toErrorPayload('text')).toEqual({ code: 'internal', message: 'text' });
  expect(toErrorPayload(undefined)).toEqual({ code: 'internal', message: 'undefined' });
});

test('a refusal names the field and what was expected there', () => {
  expect(() => parseAs(calls['jobs.get'].input, { jobId: 7 }, 'jobs.get')).toThrowError(
    'jobs.get: jobId: expected a text, got 7',
  );
});

test.each([
  ['perplexity', { text: { bundled: 'general' } }, 'perplexity: model: is missing; expected a text'],
  [
    'perplexity',
    { model: 'm', text: 7 },
    'perplexity: text: has none of the forms that are possible here: 7',
  ],
  [
    'perplexity',
    { model: 'm', text: { bundled: 'x' }, context: 1 },
    'perplexity: context: must be at least 2, got 1',
  ],
  [
    'perplexity',
    { model: 'm', text: { bundled: 'x' }, context: 2.5 },
    'perplexity: context: expected a whole number, got 2.5',
  ],
  [
    'perplexity',
    { model: 'm', text: { bundled: 'x' }, kontext: 2 },
    'perplexity: has fields that are not known here: kontext',
  ],
  ['perplexity', { model: '', text: { bundled: 'x' } }, 'perplexity: model: a path must not be empty'],
  [
    'perplexity',
    { model: 'm', text: { bundled: 'x' }, remember: 'yes' },
    'perplexity: remember: expected true or false, got "yes"',
  ],
  [
    'history.list',
    { kind: 'x' },
    'history.list: kind: expected one of quantize, verify, perplexity, quality, benchmark, got "x"',
  ],
  ['history.compare', { runIds: ['a'] }, 'history.compare: runIds: must have at least 2 entries, got 1'],
  [
    'generate',
    { model: 'm', prompt: 'p', sampling: { kind: 'warm' } },
    'generate: sampling.kind: expected one of greedy, sampled, got "warm"',
  ],
  [
    'generate',
    { model: 'm', prompt: 'p', sampling: null },
    'generate: sampling: expected an object, got null',
  ],
] as const)('%s refuses %j in words of its own', (call, input, expected) => {
  expect(() => parseAs(calls[call].input, input, call)).toThrowError(expected);
});

test('the client trusts neither the shape of a response nor that of an output or an event', async () => {
  let answer: unknown;
  let emit: (event: unknown, sequence: number) => void = () => {};
  const client = createClient({
    request: async ({ id }) => (typeof answer === 'object' && answer !== null ? { id, ...answer } : answer),
    onEvent: (listener) => {
      emit = listener;
      return () => {};
    },
  });
  answer = 'nonsense';
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'internal' });
  answer = { output: { jobs: [{ kind: 'quantize' }] } };
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'internal' });
  answer = { error: { code: 'not-found', message: 'gone' } };
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'not-found', message: 'gone' });
  answer = { error: { code: 'made-up', message: 'gone' } };
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'internal' });
  answer = { output: { jobs: [] } };
  await expect(client.call('jobs.list', {})).resolves.toEqual({ jobs: [] });
  client.onEvent(() => {});
  expect(() => emit({ type: 'job-progress', jobId: 'a' }, 1)).toThrowError(/^event: /);
});

test('events of unknown types and with missing parts are refused', () => {
  expect(eventSchema.safeParse({ type: 'surprise' }).success).toBe(false);
  expect(eventSchema.safeParse({ type: 'job-text', jobId: 'a', text: 'b' }).success).toBe(false);
  expect(eventSchema.safeParse({ type: 'job-text', jobId: 'a', text: 'b', tokenIds: [1] }).success).toBe(
    true,
  );
});
