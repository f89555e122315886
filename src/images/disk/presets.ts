/** What clouds and hypervisors take, after the image variants of nixpkgs; the boot program is always UEFI's. */
import { GIBIBYTE } from '../../bytes/units.ts'
import type { OutputFormat } from '../../disks/containers.ts'
import { namedPreset } from '../named-preset.ts'
import type { DiskLayout } from './names.ts'

export interface DiskPreset {
  readonly name: string
  readonly format: OutputFormat
  readonly layout: DiskLayout
  /** Bytes, or as much as the content needs. */
  readonly size: number | 'auto'
  /** A size that is `auto` becomes a whole multiple of so many bytes. */
  readonly sizeUnit?: number
  /** One line. */
  readonly about: string
}

export const DISK_PRESETS: readonly DiskPreset[] = [
  { name: 'raw-efi', format: 'raw', layout: 'efi', size: 'auto', about: 'a disk as it is, to be copied to a real one' },
  { name: 'qemu-efi', format: 'qcow2', layout: 'efi', size: 'auto', about: 'QEMU and libvirt, with OVMF' },
  { name: 'amazon', format: 'vhd', layout: 'efi', size: 4 * GIBIBYTE, about: 'Amazon EC2: upload to S3, then import-snapshot' },
  { name: 'azure', format: 'vhd-fixed', layout: 'efi', size: 'auto', about: 'Azure, generation 2: upload as a page blob' },
  {
    name: 'google',
    format: 'raw.tar.gz',
    layout: 'efi',
    size: 'auto',
    sizeUnit: GIBIBYTE,
    about: 'Google Compute Engine: upload, then gcloud compute images create',
  },
  { name: 'hyperv', format: 'vhdx', layout: 'efi', size: 4 * GIBIBYTE, about: 'Hyper-V, generation 2, secure boot off' },
  { name: 'vmware', format: 'vmdk', layout: 'efi', size: 'auto', about: 'VMware Workstation and Fusion, firmware EFI' },
  { name: 'vsphere', format: 'ova', layout: 'efi', size: 'auto', about: 'VMware vSphere and ESXi: deploy as an OVF template' },
  { name: 'virtualbox', format: 'ova', layout: 'efi', size: 'auto', about: 'VirtualBox: import the appliance' },
  { name: 'openstack', format: 'qcow2', layout: 'efi', size: 'auto', about: 'OpenStack Glance, with hw_firmware_type=uefi' },
  { name: 'oci', format: 'qcow2', layout: 'efi', size: 8 * GIBIBYTE, about: 'Oracle Cloud: import as a custom image, UEFI' },
  { name: 'proxmox', format: 'qcow2', layout: 'efi', size: 'auto', about: 'Proxmox VE: qm importdisk, with OVMF' },
  { name: 'kubevirt', format: 'qcow2', layout: 'efi', size: 'auto', about: 'KubeVirt, with an EFI boot loader' },
]

/** Throws USAGE for a name that none has. */
export function diskPreset(name: string): DiskPreset {
  return namedPreset(DISK_PRESETS, name)
}
