import { MayflyError } from '../../../contract/error.ts'
import { saidByMachine, type QmpClient } from './qmp.ts'
import type { FileUri, QmpEvent } from './qmp-commands.ts'

/**
 * Save and restore of one machine. QEMU responds when either begins, and emits an event when it is over. A process that died or
 * hangs emits none, so each has a deadline, and a closed connection ends it.
 *
 * Memory in a shared file is left out (`x-ignore-shared`): the state contains only devices, about 350 KB.
 */
export class Migrations {
  #over = Promise.withResolvers<string>()

  /** Handler of the machine's events. */
  readonly onEvent = ({ name, data }: QmpEvent): void => {
    const { status } = data
    if (name !== 'MIGRATION' || typeof status !== 'string') return
    if (last.includes(status)) this.#over.resolve(status)
  }

  /** Must be called before `save` and `restore`, while the machine is paused. */
  async prepare(control: QmpClient, msMax: number): Promise<void> {
    const capabilities = [
      { capability: 'x-ignore-shared', state: true },
      { capability: 'events', state: true },
    ] as const
    await control.ask('migrate-set-capabilities', { capabilities }, { msMax })
  }

  /** Throws MayflyError UNAVAILABLE with the cause that QEMU reports, and PROTOCOL after a timeout or a closed connection. */
  async save(control: QmpClient, uri: FileUri, msMax: number): Promise<void> {
    await this.#wait('save', control, control.ask('migrate', { uri }, { msMax }), msMax)
  }

  /** Throws as `save` does. */
  async restore(control: QmpClient, uri: FileUri, msMax: number): Promise<void> {
    const asked = control.ask('migrate-incoming', { uri }, { msMax })
    await this.#wait('restore', control, asked, msMax)
  }

  async #wait(verb: string, control: QmpClient, asked: Promise<unknown>, msMax: number) {
    const waiting = (this.#over = Promise.withResolvers<string>())
    const late = setTimeout(() => waiting.resolve('it is late'), msMax)
    void control.ended.then((why) => waiting.resolve(why))
    asked.catch(() => waiting.resolve('failed'))
    try {
      const [status] = await Promise.all([waiting.promise, asked])
      if (status === 'completed') return
      if (status === 'failed') throw await this.#failed(verb, control)
      throw new MayflyError('PROTOCOL', `Cannot ${verb} a machine: ${status}`)
    } finally {
      clearTimeout(late)
    }
  }

  async #failed(verb: string, control: QmpClient): Promise<MayflyError> {
    const { 'error-desc': said = 'it failed' } = await control.ask('query-migrate')
    return new MayflyError('UNAVAILABLE', `Cannot ${verb} a machine: ${saidByMachine(said)}`)
  }
}

const last = ['completed', 'failed', 'cancelled']
