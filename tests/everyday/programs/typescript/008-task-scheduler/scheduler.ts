export interface Task<T> {
  name: string;
  run: () => Promise<T>;
}

export type Outcome<T> = { name: string; status: "done"; value: T } | { name: string; status: "failed"; reason: string };

export default async function schedule<T>(
  tasks: readonly Task<T>[],
  limit: number,
  onPeak?: (active: number) => void,
): Promise<Outcome<T>[]> {
  const results: Outcome<T>[] = new Array(tasks.length);
  let next = 0;
  let active = 0;

  async function worker(): Promise<void> {
    while (next < tasks.length) {
      const index = next++;
      const { name, run } = tasks[index];
      onPeak?.(++active);
      try {
        results[index] = { name, status: "done", value: await run() };
      } catch (e) {
        results[index] = { name, status: "failed", reason: e instanceof Error ? e.message : String(e) };
      } finally {
        active--;
      }
    }
  }

  await Promise.all(Array.from({ length: Math.min(limit, tasks.length) }, worker));
  return results;
}
