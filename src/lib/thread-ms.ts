/** What this thread worked, in milliseconds. On a busy machine something takes far longer, and costs no more. */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1e3
}
