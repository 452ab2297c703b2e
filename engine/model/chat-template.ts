import { Worker } from 'node:worker_threads';
import { DBellError } from '../contract/errors.ts';
import { chatTemplateLimits } from './chat-template-limits.ts';
import { ControlTokenMarks } from './chat-template-marks.ts';
import type { RenderReply, RenderRequest } from './chat-template-worker.ts';
import type { ChatMessage, TextSegment, Tokenizer } from './tokenizer.ts';
import { roleTokens } from './tokenizer-definition.ts';

export interface ChatTemplateSource {
  /** Jinja source, or null where the model has none for chats. */
  template: string | null;
  /** Something a person should see, such as a list of templates without a default one. */
  warning: string | null;
}

/**
 * Chooses a model's chat template: `chat_template.jinja` outranks `chat_template` in tokenizer_config.json, which is a text or a list of
 * {name, template}, of which "default" is taken.
 */
export function chooseChatTemplate(
  templateFile: string | null,
  tokenizerConfig: Record<string, unknown>,
): ChatTemplateSource {
  if (templateFile !== null) return { template: templateFile, warning: null };
  const inline = tokenizerConfig.chat_template;
  if (inline === undefined || inline === null) return { template: null, warning: null };
  if (typeof inline === 'string') return { template: inline, warning: null };
  const named = Array.isArray(inline) ? inline.filter(isNamedTemplate) : [];
  const chosen = named.find((entry) => entry.name === 'default');
  if (chosen !== undefined) return { template: chosen.template, warning: null };
  const names = named.map((entry) => entry.name).join(', ');
  return {
    template: null,
    warning:
      names === ''
        ? 'tokenizer_config.json has a chat_template that is neither a text nor a list of {name, template}; it is not used'
        : `the model has chat templates named ${names}, but none named default; none is used`,
  };
}

function isNamedTemplate(value: unknown): value is { name: string; template: string } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'name' in value &&
    typeof value.name === 'string' &&
    'template' in value &&
    typeof value.template === 'string'
  );
}

export interface RenderedChat {
  /** For `Tokenizer.encodeSegments`: only the template's own text may hold control tokens. */
  segments: TextSegment[];
  /** Which format was used; `plain` is stated to the person, since the model was not made for it. */
  format: 'model-template' | 'plain';
  /** Texts that end an answer besides the model's end-of-text ids. */
  stopTexts: string[];
  warnings: string[];
}

/** What `plain` looks like, for messages and documentation. */
export const plainChatFormat =
  'each message on a line of its own after "System: ", "User: " or "Assistant: ", the last line "Assistant:"';

const plainNames = { system: 'System', user: 'User', assistant: 'Assistant' } as const;

/**
 * Renders messages for a model up to where its answer begins. Text of messages never yields control tokens (see ControlTokenMarks).
 *
 * Rendering runs in a thread of its own with bounded time, heap and output. Throws DBellError `invalid-input` with the template's own words where
 * it raises an exception, `unsupported-model` where it cannot be read or run, or exceeds a bound.
 */
export async function renderChat(
  template: string | null,
  messages: readonly ChatMessage[],
  tokenizer: Tokenizer,
  tokenizerConfig: Record<string, unknown>,
): Promise<RenderedChat> {
  if (messages.length === 0) throw new DBellError('invalid-input', 'a chat needs at least one message');
  if (template === null) return renderPlain(messages);
  if (template.length > chatTemplateLimits.maxTemplateLength)
    throw new DBellError(
      'unsupported-model',
      `the chat template has ${template.length} characters; the limit is ${chatTemplateLimits.maxTemplateLength}`,
    );
  const controlTexts = [...tokenizer.specialIds].flatMap((id) => tokenizer.idToToken(id) ?? []);
  const marks = new ControlTokenMarks(controlTexts, [
    template,
    ...messages.map((message) => message.content),
  ]);
  const roles = roleTokens(tokenizerConfig);
  const contentLength = messages.reduce((sum, message) => sum + message.content.length, 0);
  const text = await renderInThread({
    template,
    variables: {
      messages: messages.map(({ role, content }) => ({ role, content: marks.mark(content) })),
      add_generation_prompt: true,
      bos_token: roles.beginOfText ?? '',
      eos_token: roles.endOfText ?? '',
      unk_token: roles.unknown ?? '',
      pad_token: roles.padding ?? '',
    },
    maxLength: contentLength + chatTemplateLimits.maxAddedLength,
  });
  return { segments: marks.segments(text), format: 'model-template', stopTexts: [], warnings: [] };
}

function renderPlain(messages: readonly ChatMessage[]): RenderedChat {
  const lines = messages.map(({ role, content }) => `${plainNames[role]}: ${content}\n`);
  return {
    segments: [{ text: `${lines.join('')}${plainNames.assistant}:`, parseSpecial: false }],
    format: 'plain',
    stopTexts: [`\n${plainNames.user}:`, `\n${plainNames.system}:`],
    warnings: [`the model has no chat template; a plain format is used: ${plainChatFormat}`],
  };
}

async function renderInThread(request: RenderRequest): Promise<string> {
  const reply = await runThread(request);
  switch (reply.kind) {
    case 'text':
      return reply.text;
    case 'raised':
      throw new DBellError(
        'invalid-input',
        `the model's chat template refuses these messages: ${reply.message}`,
      );
    case 'invalid-template':
      throw new DBellError('unsupported-model', `the model's chat template cannot be read: ${reply.message}`);
    case 'failed':
      throw new DBellError('unsupported-model', `the model's chat template failed: ${reply.message}`);
    case 'too-long':
      throw new DBellError(
        'unsupported-model',
        `the model's chat template rendered ${reply.message} characters; the limit is ${request.maxLength} for these messages`,
      );
  }
}

function runThread(request: RenderRequest): Promise<RenderReply> {
  const worker = new Worker(new URL('./chat-template-worker.ts', import.meta.url), {
    workerData: request,
    resourceLimits: { maxOldGenerationSizeMb: chatTemplateLimits.heapLastResortMb },
  });
  return new Promise<RenderReply>((resolve) => {
    const timer = setTimeout(() => {
      finish({ kind: 'failed', message: `it ran longer than ${chatTemplateLimits.timeoutMs / 1000} s` });
    }, chatTemplateLimits.timeoutMs);
    const outOfMemory = `it needed more than ${chatTemplateLimits.heapMb} MB of memory`;
    const watch = setInterval(() => {
      worker.getHeapStatistics().then(
        ({ used_heap_size: usedBytes }) => {
          if (usedBytes > chatTemplateLimits.heapMb * 2 ** 20)
            finish({ kind: 'failed', message: outOfMemory });
        },
        // The thread has ended meanwhile: its own message says how.
        () => undefined,
      );
    }, chatTemplateLimits.heapCheckMs);
    const finish = (reply: RenderReply) => {
      clearTimeout(timer);
      clearInterval(watch);
      void worker.terminate();
      resolve(reply);
    };
    worker.once('message', (reply: RenderReply) => finish(reply));
    worker.once('error', (error: NodeJS.ErrnoException) =>
      finish({
        kind: 'failed',
        message: error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? outOfMemory : error.message,
      }),
    );
    worker.once('exit', (code) => finish({ kind: 'failed', message: `its thread ended with code ${code}` }));
  });
}
