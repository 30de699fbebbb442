import { call, Program } from '../fixtures/wasi-program.ts'
import { op } from '../fixtures/wasm.ts'
import type { GuestLanguage } from './stand.ts'

/** Address and maximum size of a program's input. */
const INPUT_AT = 1024
const INPUT_BYTES = 60_000

const echo = new Program().does(
  [...op.i32(0), ...op.i32(INPUT_AT), ...op.store()],
  [...op.i32(4), ...op.i32(INPUT_BYTES), ...op.store()],
  [...op.i32(0), ...op.i32(0), ...op.i32(1), ...op.i32(4), ...op.call(call.fd_read), ...op.drop],
  [...op.i32(3), ...op.i32(0), ...op.i32(1), ...op.i32(8), ...op.call(call.fd_write), ...op.drop],
)

const speaks = new Program()
for (let n = 0; n < 200; n++) speaks.say(n % 2 ? 2 : 1, `line ${n}\n`)
speaks.say(3, '200')

const floods = new Program()
  .times(512, (inner) => inner.write(1, INPUT_AT, 16_384))
  .say(3, '"flooded"')

const forever = op.loop(op.branch(0))
const spins = new Program().say(1, 'spinning\n').does(forever)

/** Subscribes to a clock event in some years. */
const waits = new Program()
  .say(1, 'waiting\n')
  .does(
    [...op.i32(INPUT_AT + 28), ...op.i32(0x0fff_ffff), ...op.store()],
    op.i32(INPUT_AT),
    op.i32(INPUT_AT + 512),
    op.i32(1),
    op.i32(0),
    op.call(call.poll_oneoff),
    op.drop,
  )

/** Life-cycle guests as WASI programs. No named exceptions, no capability calls. */
export const inWasm: GuestLanguage = {
  language: 'wasm',
  entry: 'program',
  guests: {
    echo: echo.base64,
    speaks: speaks.base64,
    floods: floods.base64,
    spins: spins.base64,
    waits: waits.base64,
  },
}
