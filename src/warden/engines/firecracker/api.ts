/**
 * API requests that this engine sends to Firecracker, with the names of its published specification (Swagger 2.0). Omitted on
 * purpose: `/mmds` (a guest without a network card reaches no metadata service), `/network-interfaces`, `/serial`,
 * `/cpu-config`, `/pmem` and `/hotplug`: each adds host code that a guest can attack.
 *
 * The specification has no field for a generation id: Firecracker itself renews VMGenID at each load.
 */
export type ApiRequest =
  | Put<'/machine-config', MachineConfiguration>
  | Put<'/boot-source', BootSource>
  | Put<'/drives/root', Drive>
  | Put<'/vsock', { readonly guest_cid: number; readonly uds_path: string }>
  | Put<'/entropy', Readonly<Record<string, never>>>
  | Put<'/balloon', { readonly amount_mib: number; readonly deflate_on_oom: boolean }>
  | Put<'/actions', { readonly action_type: 'InstanceStart' }>
  | Put<'/snapshot/create', SnapshotFiles>
  | Put<'/snapshot/load', SnapshotLoad>
  | {
      readonly method: 'PATCH'
      readonly path: '/vm'
      readonly body: { readonly state: 'Paused' | 'Resumed' }
    }

interface Put<Path extends string, Body> {
  readonly method: 'PUT'
  readonly path: Path
  readonly body: Body
}

interface MachineConfiguration {
  readonly vcpu_count: 1
  readonly mem_size_mib: number
  readonly smt: false
  readonly track_dirty_pages: false
}

/** Paths as the jailed process sees them. */
interface BootSource {
  readonly kernel_image_path: string
  readonly initrd_path: string
  readonly boot_args: string
}

interface Drive {
  readonly drive_id: 'root'
  readonly is_root_device: true
  readonly is_read_only: true
  readonly path_on_host: string
  readonly io_engine: 'Sync'
}

interface SnapshotFiles {
  readonly snapshot_type: 'Full'
  readonly snapshot_path: string
  readonly mem_file_path: string
}

interface SnapshotLoad {
  readonly snapshot_path: string
  readonly mem_backend: { readonly backend_type: 'File'; readonly backend_path: string }
  readonly track_dirty_pages: false
  readonly resume_vm: true
}
