export async function pool(tasks, limit, worker) {
  const results = new Array(tasks.length);
  let next = 0;

  async function run() {
    while (next < tasks.length) {
      const i = next++;
      try {
        results[i] = { status: 'fulfilled', value: await worker(tasks[i], i) };
      } catch (reason) {
        results[i] = { status: 'rejected', reason };
      }
    }
  }

  await Promise.all(Array.from({ length: Math.min(limit, tasks.length) }, run));
  return results;
}

export default pool;
