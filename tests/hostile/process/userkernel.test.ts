import { isUserKernelThere, noUserKernel } from '../../walls/user-kernel-here.ts'
import { hostileInGuests } from './guests.ts'

await hostileInGuests('user-mode-linux', isUserKernelThere() ? undefined : noUserKernel)
