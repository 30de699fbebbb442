/** Calls a listener whose failures are its own: one that throws and one whose promise rejects are ignored. */
export function unheeded(call: () => unknown): void {
  void Promise.try(call).catch(() => undefined)
}
