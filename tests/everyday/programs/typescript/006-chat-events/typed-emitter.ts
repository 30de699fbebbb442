import { EventEmitter } from "node:events";

type EventMap = Record<string, unknown[]>;

/** Thin typed wrapper around EventEmitter. */
export class TypedEmitter<E extends { [K in keyof E]: unknown[] }> {
  #inner = new EventEmitter();

  on<K extends keyof E & string>(event: K, listener: (...args: E[K]) => void): () => void {
    this.#inner.on(event, listener as (...args: any[]) => void);
    return () => this.#inner.off(event, listener as (...args: any[]) => void);
  }

  once<K extends keyof E & string>(event: K, listener: (...args: E[K]) => void): void {
    this.#inner.once(event, listener as (...args: any[]) => void);
  }

  protected emit<K extends keyof E & string>(event: K, ...args: E[K]): boolean {
    return this.#inner.emit(event, ...args);
  }

  count(event: keyof E & string) {
    return this.#inner.listenerCount(event);
  }
}

export type { EventMap };
