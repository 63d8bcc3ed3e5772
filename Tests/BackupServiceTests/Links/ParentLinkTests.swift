// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import Qcow2Format
import Testing

@testable import BackupService

/// Which files may lie below a backup, by what its header and its manifest say.
@Suite struct ParentLinkTests {
    private static let size: UInt64 = 1 << 30
    private static let made = BackupID()
    private static let header = BackupIdentity.Parent(id: made, virtualSize: size)
    private static let manifest = ManifestHeader.Parent(
        name: "/b/full", id: made.description, virtualSize: size, content: "abcd")
    private static let right = ParentLink.Below(
        id: made.description, name: "/b/full", virtualSize: size, content: "abcd")

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var name: String? = "/b/full"
        var below: ParentLink.Below? = right
        /// With the manifest, and with the header alone.
        let faults: (LinkFault?, LinkFault?)
    }

    static let cases: [Case] = [
        Case(testDescription: "nothing has changed", faults: (nil, nil)),
        Case(testDescription: "nothing is known of what is there", below: .init(), faults: (nil, nil)),
        Case(testDescription: "another name of the same backup", name: "full", faults: (nil, nil)),
        Case(
            testDescription: "another name of the same path", name: "../b/full", below: .init(name: "/b/full"),
            faults: (nil, nil)),
        Case(
            testDescription: "another file", name: "/b/other", below: .init(id: "77", name: "/b/other"),
            faults: (.rebased(from: "/b/full"), .otherBackup)),
        Case(
            testDescription: "a file of which nothing is known", name: "/b/other", below: .init(name: "/b/other"),
            faults: (.rebased(from: "/b/full"), nil)),
        Case(
            testDescription: "stands alone", name: nil, below: nil, faults: (.rebased(from: "/b/full"), nil)),
        Case(
            testDescription: "replaced", below: .init(id: "77", name: "/b/full", virtualSize: size),
            faults: (.otherBackup, .otherBackup)),
        Case(
            testDescription: "holds something else",
            below: .init(id: made.description, name: "/b/full", virtualSize: size, content: "ef"),
            faults: (.otherContent, nil)),
        Case(
            testDescription: "cut off", below: .init(name: "/b/full", virtualSize: size - 512),
            faults: (.cutOff(from: size, to: size - 512), .cutOff(from: size, to: size - 512))),
        Case(
            testDescription: "has grown", below: .init(name: "/b/full", virtualSize: size + 512), faults: (nil, nil)),
    ]

    /// A relative name is the same as an absolute one of the same file.
    @Test(arguments: [("/b/full", nil), ("/b/other", LinkFault.rebased(from: "full"))])
    func relativeName(below: String, fault: LinkFault?) {
        let manifest = ManifestHeader.Parent(name: "full", id: nil, virtualSize: Self.size, content: nil)
        // No file has that path, and so no link leads elsewhere.
        let moved = ParentLink(name: "/x/full", header: nil, manifest: manifest, path: nil)
        #expect(moved.fault(.init(name: "/x/full")) == .rebased(from: "full"))
        let same = ParentLink(name: "full", header: nil, manifest: manifest)
        #expect(same.fault(.init(name: "/anywhere/full")) == nil)
        let rebased = ParentLink(name: below, header: nil, manifest: manifest, folderOf: "/b/monday")
        #expect(rebased.fault(.init(name: below)) == fault)
    }

    @Test(arguments: cases) func fault(_ link: Case) {
        let withManifest = ParentLink(name: link.name, header: Self.header, manifest: Self.manifest)
        #expect(withManifest.fault(link.below) == link.faults.0)
        let headerAlone = ParentLink(name: link.name, header: Self.header, manifest: nil)
        #expect(headerAlone.fault(link.below) == link.faults.1)
        #expect(ParentLink(name: link.name, header: nil, manifest: nil).fault(link.below) == nil)
    }
}
