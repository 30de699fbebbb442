/**
 * Settings by which the host started this process: a worker has them in a variable, the runner of Node in its argument. Read at load,
 * before a job can change either. With `compiles` a worker only fills the folder of compiled code. Joined programs find the
 * binding of isolated-vm there (src/jail/join.js).
 */
export const settings = JSON.parse(process.env.MAYFLY_WORKER ?? process.argv[2] ?? '{}')
