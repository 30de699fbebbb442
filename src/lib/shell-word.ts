/** Text as one word of a POSIX shell, for a command that a user may copy: others choose the names of files. */
export function shellWord(text: string): string {
  return /^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
