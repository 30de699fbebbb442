import { isQemuThere, noQemu } from '../../walls/qemu-here.ts'
import { hostileInGuests } from './guests.ts'

await hostileInGuests('qemu', isQemuThere() ? undefined : noQemu)
