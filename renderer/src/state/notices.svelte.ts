import { engine } from './engine.svelte.ts';

export interface Notice {
  id: number;
  level: 'info' | 'warning' | 'error';
  message: string;
  action: { label: string; run: () => void } | null;
}

/** Short messages that concern no place on the screen. They stay until they are closed or replaced; nothing disappears unread. */
class Notices {
  list: Notice[] = $state.raw([]);
  #nextId = 1;

  constructor() {
    engine.onEvent((event) => {
      if (event.type === 'service-message') this.add(event.level, event.message);
    });
  }

  /** Answers what closes it, for who has something newer to say. */
  add(level: Notice['level'], message: string, action: Notice['action'] = null): () => void {
    const others = this.list.filter((notice) => notice.message !== message);
    const id = this.#nextId++;
    this.list = [...others, { id, level, message, action }].slice(-4);
    return () => this.close(id);
  }

  close(id: number): void {
    this.list = this.list.filter((notice) => notice.id !== id);
  }
}

export const notices = new Notices();
