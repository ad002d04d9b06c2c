insert into kinds.everything (
    small, whole, big, real4, real8, number, exact, tens, fine, price, yes, words, brief, fixed, loose, ident, one,
    day, clock, clock_zone, moment, instant, seconds, hundredths, lapse, lapse0, guid, bytes, doc, docb, host, net, mac, mac8,
    bits, bits_any, span, span8, spann, spand, spant, spantz, spans, spansd, mood, feeling, positive, grade,
    vector, query, store, branch, spot, pair
) values (
    1, 2, 9007199254740993, 0.1, 1e300, 1234567890123456789.000100, 12.30, 1200, 0.00123, 12.34, true, 'wörds', 'brief', 'ab', 'LooSe',
    'ident', 'x', '2026-01-31', '10:00:00.000001', '10:00:00+02', '2026-01-31 10:00:00.5', '2026-01-31 10:00:00.123456+02',
    '2026-01-31 10:00:00+00', '10:00:00.12', '1 year 2 mons -3 days 04:05:06.7', '7 seconds', '01890a5d-ac96-774b-bcce-b302099a8057',
    '\x00ff10', '{"b": 1.10, "a": [1,  2]}', '{"b": 1.10, "a": null}', '192.0.2.1/24', '10.0.0.0/8', '08:00:2b:01:02:03',
    '08:00:2b:01:02:03:04:05', '101', '10101', '[1,5)', '[1,)', '(0.5,1.5]', '[2026-01-01,2026-02-01)',
    '[2026-01-01 00:00,2026-01-02 00:00)', '[2026-01-01 00:00+00,)', '{[1,3),[5,7)}', '{[2026-01-01,2026-01-02)}', 'so so', 'happy',
    3, 6, 'a:1 fat:2', 'fat & rat', 'a=>1, b=>NULL', 'top.science', '(1,2)', '(1,"a b")'
);
insert into kinds.everything default values;
insert into kinds.everything (number, real4, real8, day, moment, instant, spand, lapse) values
    ('NaN', 'Infinity', 'NaN', 'infinity', '-infinity', 'infinity', '[2026-01-01,infinity)', '100 years'),
    ('-Infinity', -1, 2, '0044-03-15 BC', '4713-01-01 BC', '12000-01-01 00:00+00', 'empty', '-1 mons');
insert into kinds.lists (smalls, wholes, bigs, reals, numbers, flags, words, days, instants, lapses, guids, chunks, docs, hosts, moods,
    spans, grades, briefs, pairs, codes) values (
    '{1,2}', '{{1,2},{3,4}}', '{9007199254740993,null}', '{0.1,2}', '{1.10,2}', '{t,f,null}', '{"a","b,c","d\"e",null,""}',
    '{2026-01-31}', '{2026-01-31 10:00+00}', '{1 day}', '{01890a5d-ac96-774b-bcce-b302099a8057}', '{"\\x00ff"}',
    array['{"a": 1}', '[1, 2]', 'null']::jsonb[], '{192.0.2.1}', '{happy,"so so"}', '{"[1,5)"}', '{1,6}', '{abc}', '{"(1,a)"}', '{Ab}'
);
insert into kinds.lists default values;
insert into kinds.needed (name) values ('one'), ('a,b');
