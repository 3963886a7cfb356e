"""How LSTM, GRU and RNN over packed panels take their steps: a unit walks a group of sequences
through all of them; or, where weights are too many for the cache of one thread, each step is a
phase and a panel a unit, so that a thread meets the same panels in every step.
"""

from recurrent import ROWS

from _lang import inline, parts

ENDLESS = 1 << 40  # phases; `units` tells where they end
FIRST = 2  # phases before the steps: packing, projection
SPLIT_BYTES = 3 << 19  # weights of a direction that leave too little room in a second-level cache
ALONE_BYTES = 1 << 19  # the same where there is but one group to walk


def steps(k, p, gates, cell):
    """The functions of a kernel: phase 0 packs weights that are not constant, phase 1 projects all
    inputs, the others take the steps.

    `cell.early(call)`: gates to which R's bias is added with W's. `cell.memory(call)`: floats of a
    group's memory; states before and after a step are ROWS rows each from row `cell.row` on, and
    take turns. `cell.begin(call, m, d, first, count)` and `cell.end(call, m, d, first, count, now)`
    bring and keep the states of `count` sequences. `cell.passes(call)`: how often a step goes over
    the panels. `cell.together(call, m, d, first, count, s, now, later, block, turn)` computes one
    panel of pass `turn` of step s for all rows, `cell.alone(call, m, d, first, r, s, now, later,
    block, turn)` for row r.
    """
    v, lanes, states_from = p.v, p.lanes, cell.row
    memory, begin_group, end_group, passes = cell.memory, cell.begin, cell.end, cell.passes
    together, alone, early = cell.together, cell.alone, cell.early
    pack_unit, project, bad_length = p.pack_unit, p.project, p.bad_length
    panel_units, project_units = p.panel_units, p.project_units
    hidden_of, batch_of, steps_of, length_of = p.hidden_of, p.batch_of, p.steps_of, p.length_of
    blocks_of, groups_of, shortest_of = p.blocks_of, p.groups_of, p.shortest_of
    time_of, output_at, wants, held = p.time_of, p.output_at, p.wants, p.workspace

    @inline
    def now_at(call, s):
        """Where the memory of a group holds the states before step s."""
        return (states_from + s % 2) * ROWS * blocks_of(hidden_of(call)) * lanes

    @inline
    def count_of(call, first):
        return min(batch_of(call) - first, ROWS)

    @inline
    def emit(call, m, d, first, r, s, now, later, block):
        """One panel of the state after step s to Y; that of a sequence which has ended stays."""
        hidden = hidden_of(call)
        j, n = block * lanes, min(hidden - block * lanes, lanes)
        at = r * blocks_of(hidden) * lanes + j
        if s < length_of(call, first + r):
            if wants(call, 0):
                y = output_at(call, time_of(call, d, first + r, s), d, first + r) + j
                v.store_n(k.output(call, 0), y, v.load(m, later + at), n)
        else:
            v.store(m, later + at, v.load(m, now + at))

    @inline
    def panel(call, m, d, first, count, s, joint, block, turn):
        """One panel of one pass of step s for a group; `joint`: no sequence of it has ended."""
        now, later = now_at(call, s), now_at(call, s + 1)
        if joint:
            together(call, m, d, first, count, s, now, later, block, turn)
        else:
            for r in range(count):
                if s < length_of(call, first + r):
                    alone(call, m, d, first, r, s, now, later, block, turn)
        if turn + 1 == passes(call):
            for r in range(count):
                emit(call, m, d, first, r, s, now, later, block)

    @inline
    def by_steps(call):
        """Whether each step is a phase. One walk alone shares its steps out sooner."""
        size = gates * hidden_of(call) * hidden_of(call) * 4
        one = k.input_dim(call, 1, 0) * groups_of(call) == 1
        return size >= (ALONE_BYTES if one else SPLIT_BYTES)

    @inline
    def phases(call):
        """Phases from the begin of the steps to their end, both included."""
        return 2 + k.input_dim(call, 1, 0) * steps_of(call) * passes(call)

    def units(call, phase):
        walks = k.input_dim(call, 1, 0) * groups_of(call)
        at, n = phase - FIRST, -1
        if phase == 0:
            n = panel_units(call)
        elif phase == 1:
            n = project_units(call)
        elif not by_steps(call):
            n = walks if at == 0 else -1
        elif at == 0 or at == phases(call) - 1:
            n = walks
        elif at < phases(call):
            n = blocks_of(hidden_of(call))
        return n

    def scratch(call):
        """A group's memory; or, when inputs are projected, a bias."""
        return (memory(call) + gates * lanes) * 4

    def workspace(call):
        walks = k.input_dim(call, 1, 0) * groups_of(call)
        return held(call) + (walks * memory(call) * 4 + 64 if by_steps(call) else 0)

    @inline
    def shared(call, walk):
        """The memory of a group that all threads see."""
        behind = (held(call) + 63) // 64 * 64
        return k.offset(k.workspace(call), behind + walk * memory(call) * 4)

    @inline
    def panels_of_step(call, phase, begin, end):
        """Panels of one phase. Every other one goes backwards, as threads do: what the one before
        read last is in the cache still.
        """
        at = phase - FIRST - 1
        turn, s = at % passes(call), at // passes(call) % steps_of(call)
        d = at // passes(call) // steps_of(call)
        for unit in range(begin, end):
            block = unit if phase % 2 == 0 else begin + end - 1 - unit
            for group in range(groups_of(call)):
                first = group * ROWS
                count = count_of(call, first)
                joint = count > 1 and s < shortest_of(call, first, count)
                m = shared(call, d * groups_of(call) + group)
                panel(call, m, d, first, count, s, joint, block, turn)

    @inline
    def whole(call, m, d, first):
        """All steps of a group of sequences."""
        count = count_of(call, first)
        begin_group(call, m, d, first, count)
        for s in range(steps_of(call)):
            joint = count > 1 and s < shortest_of(call, first, count)
            for turn in range(passes(call)):
                for block in range(blocks_of(hidden_of(call))):
                    panel(call, m, d, first, count, s, joint, block, turn)
        end_group(call, m, d, first, count, now_at(call, steps_of(call)))

    @inline
    def take(call, phase, begin, end, m):
        """Units of a phase behind the projection."""
        groups, at = groups_of(call), phase - FIRST
        if by_steps(call) and at > 0 and at < phases(call) - 1:
            panels_of_step(call, phase, begin, end)
        else:
            for unit in range(begin, end):
                d, first = unit // groups, unit % groups * ROWS
                if not by_steps(call):
                    whole(call, m, d, first)
                elif at == 0:
                    begin_group(call, shared(call, unit), d, first, count_of(call, first))
                else:
                    now = now_at(call, steps_of(call))
                    end_group(call, shared(call, unit), d, first, count_of(call, first), now)

    def run(call, phase, begin, end, scratch):
        if phase < FIRST:
            for unit in range(begin, end):
                if phase == 0:
                    pack_unit(call, unit)
                else:
                    project(call, unit, scratch, early(call))
            return k.OK
        bad = bad_length(call)
        if bad >= 0:
            k.set_error_index(call, bad)
            return k.INDEX_OUT_OF_RANGE
        take(call, phase, begin, end, scratch)
        return k.OK

    return parts(
        run=run,
        units=units,
        scratch=scratch,
        workspace=workspace,
        work=p.work,
        supports=cell.supports,
        pack_size=p.pack_size,
        pack=p.pack,
        phases=ENDLESS,
    )
