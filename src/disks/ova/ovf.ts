/** The descriptor of an appliance (DMTF DSP0243, "Open Virtualization Format Specification" 1.1) with hardware that VirtualBox and VMware know. */

export interface OvfMachine {
  readonly name: string
  readonly cpuCount: number
  readonly memoryMebibytes: number
  /** 8-4-4-4-12 lower-case hex digits. */
  readonly uuid: string
  readonly hardwareVersion: number
  readonly controller: 'sata' | 'ide' | 'lsilogic'
  readonly firmware: 'bios' | 'efi'
  readonly disks: readonly OvfDisk[]
}

export interface OvfDisk {
  readonly fileName: string
  /** Bytes of the virtual disk. */
  readonly capacity: number
  readonly uuid: string
}

/** Of items: after CPUs, memory and controller. */
const FIRST_DISK_ID = 4

const NAMESPACE = 'http://schemas.dmtf.org/ovf/envelope/1'
const CIM = 'http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2'
const STREAM_OPTIMIZED = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized'

/** CIM_ResourceAllocationSettingData.ResourceType. */
const RESOURCE = { processor: 3, memory: 4, ide: 5, scsi: 6, ethernet: 10, disk: 17, storage: 20 } as const
/** CIM_OperatingSystem.OsType: 64-bit Linux. */
const LINUX_64 = 101
/** `AHCI` is VirtualBox' own word; VMware's is taken by both. */
const CONTROLLERS = {
  sata: { name: 'SATA controller', type: RESOURCE.storage, subType: 'vmware.sata.ahci' },
  ide: { name: 'IDE controller', type: RESOURCE.ide, subType: 'PIIX4' },
  lsilogic: { name: 'SCSI controller', type: RESOURCE.scsi, subType: 'lsilogic' },
} as const

/** The text, with the sizes of the disks' files. */
export function ovfText(machine: OvfMachine, fileSizes: readonly number[]): string {
  const name = escaped(machine.name)
  const controller = CONTROLLERS[machine.controller]
  const firmware = machine.firmware === 'efi' ? '\n      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>' : ''
  const files = machine.disks.map(
    ({ fileName }, index) => `    <File ovf:href="${fileName}" ovf:id="file${index + 1}" ovf:size="${fileSizes[index]}"/>`,
  )
  const disks = machine.disks.map(
    ({ capacity, uuid }, index) =>
      `    <Disk ovf:capacity="${capacity}" ovf:diskId="vmdisk${index + 1}" ovf:fileRef="file${index + 1}" ovf:format="${STREAM_OPTIMIZED}" vbox:uuid="${uuid}"/>`,
  )
  // Elements of an item stand in the order of their names, as the schema has them.
  const items = [
    item({
      AllocationUnits: 'hertz * 10^6',
      ElementName: `${machine.cpuCount} virtual CPUs`,
      InstanceID: 1,
      ResourceType: RESOURCE.processor,
      VirtualQuantity: machine.cpuCount,
    }),
    item({
      AllocationUnits: 'byte * 2^20',
      ElementName: `${machine.memoryMebibytes} MB of memory`,
      InstanceID: 2,
      ResourceType: RESOURCE.memory,
      VirtualQuantity: machine.memoryMebibytes,
    }),
    item({ Address: 0, ElementName: controller.name, InstanceID: 3, ResourceSubType: controller.subType, ResourceType: controller.type }),
    ...machine.disks.map((_, index) =>
      item({
        AddressOnParent: index,
        ElementName: index === 0 ? 'disk' : `disk ${index + 1}`,
        HostResource: `ovf:/disk/vmdisk${index + 1}`,
        InstanceID: FIRST_DISK_ID + index,
        Parent: 3,
        ResourceType: RESOURCE.disk,
      }),
    ),
    item({
      AutomaticAllocation: 'true',
      Connection: 'NAT',
      ElementName: 'Ethernet adapter on NAT',
      InstanceID: FIRST_DISK_ID + machine.disks.length,
      ResourceSubType: 'E1000',
      ResourceType: RESOURCE.ethernet,
    }),
  ]
  return `<?xml version="1.0" encoding="UTF-8"?>
<Envelope ovf:version="1.0" xml:lang="en-US" xmlns="${NAMESPACE}" xmlns:ovf="${NAMESPACE}" xmlns:rasd="${CIM}/CIM_ResourceAllocationSettingData" xmlns:vssd="${CIM}/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf" xmlns:vbox="http://www.virtualbox.org/ovf/machine">
  <References>
${files.join('\n')}
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
${disks.join('\n')}
  </DiskSection>
  <NetworkSection>
    <Info>Networks</Info>
    <Network ovf:name="NAT">
      <Description>Network address translation</Description>
    </Network>
  </NetworkSection>
  <VirtualSystem ovf:id="${name}">
    <Info>A virtual machine</Info>
    <Name>${name}</Name>
    <OperatingSystemSection ovf:id="${LINUX_64}">
      <Info>The guest operating system</Info>
      <Description>Linux26_64</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>${name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-${machine.hardwareVersion}</vssd:VirtualSystemType>
      </System>
${items.join('\n')}${firmware}
    </VirtualHardwareSection>${machine.firmware === 'efi' ? virtualBoxMachine(machine) : ''}
  </VirtualSystem>
</Envelope>
`
}

const VIRTUALBOX_CONTROLLERS = {
  sata: { name: 'SATA', type: 'AHCI', ports: 30 },
  ide: { name: 'IDE', type: 'PIIX4', ports: 2 },
  lsilogic: { name: 'SCSI', type: 'LsiLogic', ports: 16 },
} as const

/**
 * VirtualBox takes the firmware from nowhere but its own settings, and then all else from there too (VirtualBox, `src/VBox/Main/xml/
 * Settings.cpp`, `MachineConfigFile::importMachineXML`).
 */
function virtualBoxMachine({ name, uuid, cpuCount, memoryMebibytes, controller, disks }: OvfMachine): string {
  const kind = VIRTUALBOX_CONTROLLERS[controller]
  const attached = disks.map(
    (disk, index) => `
          <AttachedDevice type="HardDisk" port="${index}" device="0">
            <Image uuid="{${disk.uuid}}"/>
          </AttachedDevice>`,
  )
  return `
    <vbox:Machine ovf:required="false" version="1.16-linux" uuid="{${uuid}}" name="${escaped(name)}" OSType="Linux_64">
      <ovf:Info>Settings of VirtualBox</ovf:Info>
      <Hardware>
        <CPU count="${cpuCount}"/>
        <Memory RAMSize="${memoryMebibytes}"/>
        <Firmware type="EFI"/>
        <Display controller="VMSVGA" VRAMSize="16"/>
        <BIOS>
          <IOAPIC enabled="true"/>
        </BIOS>
        <Network>
          <Adapter slot="0" enabled="true" cable="true" type="82540EM">
            <NAT/>
          </Adapter>
        </Network>
      </Hardware>
      <StorageControllers>
        <StorageController name="${kind.name}" type="${kind.type}" PortCount="${kind.ports}" useHostIOCache="${controller === 'ide'}" Bootable="true">${attached.join('')}
        </StorageController>
      </StorageControllers>
    </vbox:Machine>`
}

function item(elements: Readonly<Record<string, string | number>>): string {
  const lines = Object.entries(elements).map(([element, value]) => `        <rasd:${element}>${value}</rasd:${element}>`)
  return `      <Item>\n${lines.join('\n')}\n      </Item>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
