import { MayflyError } from '../contract/error.ts'

/** Error of a machine where no analysis process has ever started: it says nothing about the source. */
export class NoAnalystError extends MayflyError {}
