import type { BrowserContext, Page } from '@playwright/test';

/** One thing that a page did or was told. */
export interface Activity {
  /** Milliseconds since 1970. */
  at: number;
  kind: 'timer' | 'frame' | 'request' | 'sent' | 'animation' | 'message' | 'painted';
  /** Of a message: what it says; else what was called. */
  detail: unknown;
}

/** Writes down every timer, animation frame, request, animation and message of the pages to come, from their first script on. */
export async function recordActivity(context: BrowserContext): Promise<void> {
  // As text: the tests are checked without the types of a page.
  await context.addInitScript(`
    (() => {
      const log = (window.activity = []);
      const note = (kind, detail) => log.push({ at: Date.now(), kind, detail });
      const frame = window.requestAnimationFrame.bind(window);
      const wrap = (owner, name, kind) => {
        const original = owner[name];
        owner[name] = function (...args) {
          note(kind, name);
          return original.apply(this, args);
        };
      };
      for (const name of ['setTimeout', 'setInterval', 'requestIdleCallback']) wrap(window, name, 'timer');
      wrap(window, 'requestAnimationFrame', 'frame');
      wrap(window, 'fetch', 'request');
      wrap(navigator, 'sendBeacon', 'request');
      wrap(XMLHttpRequest.prototype, 'send', 'request');
      wrap(WebSocket.prototype, 'send', 'sent');
      wrap(Element.prototype, 'animate', 'animation');
      for (const name of ['animationstart', 'animationiteration', 'transitionrun']) {
        addEventListener(name, (event) => note('animation', name + ' of ' + event.target.className), true);
      }
      const Original = window.WebSocket;
      window.WebSocket = class extends Original {
        constructor(...args) {
          super(...args);
          this.addEventListener('message', ({ data }) => {
            note('message', JSON.parse(data));
            frame(() => note('painted', null));
          });
        }
      };
    })();
  `);
}

/** What a page did so far. */
export function activityOf(page: Page): Promise<Activity[]> {
  return page.evaluate('window.activity') as Promise<Activity[]>;
}
