import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Greeting } from '../../contract/greeting.ts';
import { webLimits } from './web-limits.ts';

/** Who may talk to the service: the one who opened an address with an unused token, and from then on the holder of the session it got. */
export interface Sessions {
  /** A new token for one use. */
  createToken(): string;
  /** Wrong greetings that are remembered, to refuse tokens after a flood; never more than `webLimits.wrongGreetings`. */
  readonly wrongGreetings: number;
  /** The session to go on with, or null where the greeting is wrong. */
  admit(greeting: Greeting): string | null;
}

const digest = (text: string) => createHash('sha256').update(text).digest();

/** `key` signs sessions; whoever restarts the server keeps it, so that open pages come back by themselves. */
export function createSessions(key: Buffer, now = Date.now): Sessions {
  const tokens: Buffer[] = [];
  const wrong: number[] = [];
  const sign = (id: string) => createHmac('sha256', key).update(id).digest('base64url');
  const createSession = () => {
    const id = randomBytes(16).toString('base64url');
    return `${id}.${sign(id)}`;
  };
  const isSession = (session: string) => {
    const [id = '', signature = ''] = session.split('.', 2);
    return timingSafeEqual(digest(signature), digest(sign(id)));
  };
  const useToken = (token: string) => {
    const given = digest(token);
    // Every token is compared, so that time tells nothing.
    const index = tokens.map((known) => timingSafeEqual(known, given)).indexOf(true);
    if (index === -1) return false;
    tokens.splice(index, 1);
    return true;
  };
  const isFlooded = () => {
    const since = now() - webLimits.wrongGreetingsWindowMs;
    while (wrong.length > 0 && wrong[0]! < since) wrong.shift();
    return wrong.length >= webLimits.wrongGreetings;
  };
  return {
    get wrongGreetings() {
      return wrong.length;
    },
    createToken() {
      const token = randomBytes(32).toString('base64url');
      tokens.push(digest(token));
      return token;
    },
    admit(greeting) {
      if ('session' in greeting) {
        if (isSession(greeting.session)) return greeting.session;
      } else if (!isFlooded() && useToken(greeting.token)) return createSession();
      wrong.push(now());
      // More of them say nothing new, and whoever sends them is to cost nothing.
      if (wrong.length > webLimits.wrongGreetings) wrong.shift();
      return null;
    },
  };
}
