// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Testing

/// Timers call in the order of their deadlines, and those that are cancelled don't call.
@Suite(.timeLimit(.minutes(5)))
struct TimerThreadTests {
    @Test func order() async {
        let timers = TimerThread()
        let (calls, sink) = AsyncStream.makeStream(of: Int.self)
        let start = ContinuousClock.now
        let cancelLast = timers.schedule(at: start + .seconds(3600)) { sink.yield(9) }
        _ = timers.schedule(at: start + .milliseconds(500)) {
            sink.yield(3)
            sink.finish()
        }
        _ = timers.schedule(at: start + .milliseconds(300)) { sink.yield(2) }
        // Its time has come already.
        _ = timers.schedule(at: start - .seconds(1)) { sink.yield(1) }
        let cancelled = timers.schedule(at: start + .milliseconds(400)) { sink.yield(8) }
        cancelled()
        var seen: [Int] = []
        for await call in calls { seen.append(call) }
        #expect(seen == [1, 2, 3])
        #expect(ContinuousClock.now >= start + .milliseconds(500))
        cancelLast()
    }
}
