import type { ServiceEvent } from '../contract/events.ts';
import { serviceLimits } from './limits.ts';

export type EventListener = (event: ServiceEvent, sequence: number) => void;

/** The service's events: to whom they go, and what is said again to clients that were not there. */
export class EventStream {
  readonly #listeners = new Set<EventListener>();
  readonly #missed: { event: ServiceEvent; sequence: number }[] = [];
  #sequence = 0;
  #clients = 0;
  #isStarting = true;

  readonly emit = (event: ServiceEvent): void => {
    this.#sequence++;
    if (event.type === 'service-message' && (this.#isStarting || this.#clients === 0)) {
      this.#missed.push({ event, sequence: this.#sequence });
      if (this.#missed.length > serviceLimits.missedMessages) this.#missed.shift();
    }
    for (const listener of this.#listeners) listener(event, this.#sequence);
  };

  /** Returns how to stop listening. */
  listen(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Listens for a window or another client, which first hears what was said of the service as a whole during its start and while no client was there: what is
   * wrong then is said once, to whoever listens. Each client hears it, since the first may be gone before a person has read it.
   */
  connect(listener: EventListener): () => void {
    for (const { event, sequence } of this.#missed) listener(event, sequence);
    const stop = this.listen(listener);
    this.#clients++;
    let isOpen = true;
    return () => {
      stop();
      if (isOpen) this.#clients--;
      isOpen = false;
    };
  }

  /** From here on a message is for those who are there. */
  started(): void {
    this.#isStarting = false;
  }
}
