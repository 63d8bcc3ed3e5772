// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupService
import Qcow2Format
import Testing

@testable import qcowbackup

/// What is printed at the end, byte by byte: scripts read it.
@Suite struct ReportTests {
    private static let summary = BackupSummary(
        target: "/backups/disk.qcow2", virtualSize: 6 << 30, bytesRead: 3 << 30, bytesWritten: 2 << 30,
        bytesZero: 1 << 30,
        bytesSkipped: 512, bytesOffloaded: 0, targetLength: 700 << 20, seconds: 4.91234)

    @Test func summaryForPeople() {
        #expect(
            SummaryText(summary: Self.summary, isCompressed: true).description == """
                /backups/disk.qcow2: read 3 GiB, written 2 GiB, zero 1 GiB, skipped 512 B, target 700 MiB (ratio 0.34) \
                in 4.9 s, 625 MiB/s
                """)
        #expect(
            SummaryText(summary: Self.summary, isCompressed: false).description == """
                /backups/disk.qcow2: read 3 GiB, written 2 GiB, zero 1 GiB, skipped 512 B, target 700 MiB in 4.9 s, \
                625 MiB/s
                """)
    }

    @Test func summaryOfAShareOntoABlockDevice() {
        let summary = BackupSummary(target: "/dev/sdb\n", bytesWritten: 4096, bytesOffloaded: 4096)
        #expect(
            SummaryText(summary: summary, isCompressed: true).description == """
                /dev/sdb\\n: read 0 B, written 4 KiB (4 KiB by the kernel), zero 0 B, skipped 0 B in 0.0 s, 0 B/s
                """)
    }

    @Test func summaryForPrograms() {
        #expect(
            JSONLine.summary(Self.summary, isCompressed: true) == """
                {"bytes-offloaded":0,"bytes-read":3221225472,"bytes-skipped":512,"bytes-written":2147483648,\
                "bytes-zero":1073741824,"compression-ratio":0.342,"rate":655741555,"seconds":4.912,\
                "sync":"full","target":"/backups/disk.qcow2","target-length":734003200,"unreadable":[],"virtual-size":6442450944}
                """)
        #expect(
            JSONLine.summary(BackupSummary(target: "a\n\u{1b}\"é", bytesRead: .max), isCompressed: false) == """
                {"bytes-offloaded":0,"bytes-read":18446744073709551615,"bytes-skipped":0,"bytes-written":0,\
                "bytes-zero":0,"rate":0,"seconds":0,"sync":"full","target":"a\\n\\u001b\\"é","unreadable":[],"virtual-size":0}
                """)
    }

    @Test func increments() {
        var summary = BackupSummary(
            target: "inc", sync: .incremental, virtualSize: 1024, bytesSkipped: 1024,
            bitmap: BitmapSummary(name: "b0", mode: .onSuccess, parent: "/full\n"))
        #expect(
            SummaryText(summary: summary, isCompressed: false).description.hasPrefix(
                #"inc: changes since /full\n: read 0 B, "#))
        let line = JSONLine.summary(summary, isCompressed: false)
        #expect(
            line.hasPrefix(#"{"bitmap":"b0","bitmap-mode":"on-success","bitmap-updated":true,"bytes-offloaded":0,"#),
            "\(line)")
        #expect(line.contains(#""parent":"/full\n","rate":0,"seconds":0,"sync":"incremental","#), "\(line)")
        #expect(line.contains(#""unchanged":false,"#) && !line.contains("fallback"), "\(line)")
        summary.bitmap?.isUnchanged = true
        #expect(
            SummaryText(summary: summary, isCompressed: false).description.hasPrefix("inc: nothing changed since "))
        summary.sync = .full
        summary.bitmap = BitmapSummary(name: "b0", mode: .onSuccess, fallback: "it is \"gone\"")
        #expect(
            SummaryText(summary: summary, isCompressed: false).description.hasPrefix(
                "inc: full backup instead of an increment: read "))
        let fallback = JSONLine.summary(summary, isCompressed: false)
        #expect(fallback.contains(#""fallback":"it is \"gone\"","#) && !fallback.contains("unchanged"), "\(fallback)")
    }

    /// Whether the next increment may rely on the bitmap; nothing where it was to stay as it is.
    @Test(
        arguments: [(.done, "true"), (.failed, "false"), (.unknown, #""unknown""#), (nil, nil)]
            as [(BitmapSummary.Update?, String?)])
    func bitmapUpdate(update: BitmapSummary.Update?, text: String?) {
        let summary = BackupSummary(
            target: "t", bitmap: BitmapSummary(name: "b0", mode: .onSuccess, update: update))
        let line = JSONLine.summary(summary, isCompressed: false)
        #expect(line.contains("bitmap-updated") == (text != nil), "\(line)")
        if let text { #expect(line.contains(#""bitmap-updated":\#(text),"#), "\(line)") }
    }

    @Test func whatCouldNotBeRead() {
        let ranges = [UInt64(512)..<1024, 65536..<131072]
        let line = JSONLine.summary(BackupSummary(target: "t", unreadable: ranges), isCompressed: false)
        #expect(line.contains(#""unreadable":[{"length":512,"start":512},{"length":65536,"start":65536}]"#), "\(line)")
        #expect(
            UnreadableText(ranges).lines == [
                "could not be read, and is zero in the target: 512 bytes at offset 512",
                "could not be read, and is zero in the target: 65536 bytes at offset 65536",
            ])
        let many = (0..<UInt64(UnreadableText.mostLines) + 3).map { $0 * 1024..<$0 * 1024 + 512 }
        let lines = UnreadableText(many).lines
        #expect(lines.count == UnreadableText.mostLines + 1)
        #expect(lines.last == "and 3 more ranges, 1.5 KiB altogether (--output=json lists them all)")
        #expect(UnreadableText([]).lines.isEmpty)
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity, .greatestFiniteMagnitude])
    func secondsThatAreNoNumber(seconds: Double) {
        let summary = BackupSummary(target: "t", bytesRead: 1, bytesWritten: 1, targetLength: .max, seconds: seconds)
        #expect(JSONLine.summary(summary, isCompressed: true).contains("\"seconds\":0,"))
        #expect(SummaryText(summary: summary, isCompressed: true).description.contains(" in - s"))
    }

    @Test func progressForPrograms() {
        let progress = BackupProgress(offset: 423, length: 1000)
        #expect(
            JSONLine.progress(ProgressReport(progress, bytesPerSecond: 77))
                == #"{"len":1000,"offset":423,"percent":42.3,"rate":77,"type":"progress"}"#)
        #expect(
            JSONLine.progress(.complete(progress, bytesPerSecond: 77))
                == #"{"len":1000,"offset":1000,"percent":100,"rate":77,"type":"progress"}"#)
    }

    @Test func errorsAndWarnings() {
        let error = ServiceError(.locked, "disk.qcow2: locked\nby \u{1b}[31mqemu", advice: "use -U")
        #expect(ErrorText.error(error) == #"qcowbackup: disk.qcow2: locked\nby \u{1B}[31mqemu (use -U)"#)
        #expect(
            JSONLine.error(error)
                == #"{"advice":"use -U","code":"locked","message":"disk.qcow2: locked\nby \u001b[31mqemu","type":"error"}"#
        )
        #expect(ErrorText.error(ServiceError(.io, "no")) == "qcowbackup: no")
        #expect(JSONLine.error(ServiceError(.io, "no")) == #"{"code":"io","message":"no","type":"error"}"#)
        #expect(ErrorText.warning("a\u{202E}b") == #"qcowbackup: warning: a\u{202E}b"#)
        #expect(JSONLine.warning("a/b") == #"{"message":"a/b","type":"warning"}"#)
    }

    @Test(
        arguments: [
            (0, 1, "0.0"), (0.04, 1, "0.0"), (0.05, 1, "0.1"), (4.96, 1, "5.0"), (0.005, 2, "0.01"),
            (12.3, 3, "12.300"),
            (-0.1, 1, "-"), (.nan, 1, "-"), (.infinity, 1, "-"), (1e9, 6, "1000000000.000000"), (1.1e9, 1, "-"),
        ] as [(Double, Int, String)])
    func decimals(value: Double, digits: Int, text: String) {
        #expect(Decimal(value, digits: digits).description == text)
    }

    @Test func printableKeepsLettersOfAllScripts() {
        #expect(printable("Größe 字 🙂 a\tb\u{7f}") == #"Größe 字 🙂 a\tb\u{7F}"#)
    }
}

/// Lists of bitmaps.
@Suite struct BitmapReportTests {
    private static let report = BitmapReport(
        image: "a\n",
        bitmaps: [
            .init(name: "nightly", granularity: 65536, isRecording: true, dirtyLength: 3 << 29),
            .init(name: "a\u{1b}[2J", granularity: 512, isRecording: false, dirtyLength: 0),
            .init(name: "x", granularity: 1 << 31, isRecording: true, defect: .inconsistent),
            .init(name: "y", granularity: 4096, isRecording: false, defect: .unknownExtraData),
        ])

    @Test func forPeople() {
        #expect(
            BitmapTable(report: Self.report).description == """
                NAME        GRANULARITY  STATE                          DIRTY
                nightly     64 KiB       recording                      1.5 GiB
                a\\u{1B}[2J  512 B        disabled                       0 B
                x           2 GiB        inconsistent (in use)          -
                y           4 KiB        unusable (unknown extra data)  -

                """)
        #expect(BitmapTable(report: BitmapReport(image: "a", bitmaps: [])).description == "")
    }

    @Test func forPrograms() {
        #expect(
            JSONLine.bitmaps(Self.report) == """
                {"bitmaps":[{"count":1610612736,"flags":["auto"],"granularity":65536,"inconsistent":false,\
                "name":"nightly","recording":true},{"count":0,"flags":[],"granularity":512,"inconsistent":false,\
                "name":"a\\u001b[2J","recording":false},{"flags":["in-use","auto"],"granularity":2147483648,\
                "inconsistent":true,"name":"x","recording":false},{"flags":[],"granularity":4096,"inconsistent":true,\
                "name":"y","recording":false}],"image":"a\\n"}
                """)
    }
}
