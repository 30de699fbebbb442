// expects: unexpected-syscall
// wall: bubblewrap
// schedule: no-sockets
import { connect } from 'node:net'

export default () =>
  new Promise((done) => {
    connect(4444, '10.0.0.1').on('error', (error) => done(error.code))
  })
