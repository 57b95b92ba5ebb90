/**
 * Objects by their keys, for as long as anything else refers to them.
 *
 * Invariant: a key leads to the object that was set last, until that object is collected.
 */
export class WeakCache<Value extends object> {
  readonly #values = new Map<string, WeakRef<Value>>();
  readonly #collected = new FinalizationRegistry<string>((key) => {
    if (this.get(key) === undefined) this.#values.delete(key);
  });

  /** Returns the object of a key, if it is still in use. */
  get(key: string): Value | undefined {
    return this.#values.get(key)?.deref();
  }

  /** Sets the object of a key, and returns the object. */
  set(key: string, value: Value): Value {
    if (this.get(key) === value) return value;
    this.#values.set(key, new WeakRef(value));
    this.#collected.register(value, key);
    return value;
  }
}
