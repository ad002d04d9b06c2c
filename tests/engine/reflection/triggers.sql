-- views whose writes triggers carry out, and views whose key only the settings know
create schema desk;
create table desk.people (id int primary key, name text not null check (name <> ''), seen int not null default 0, own boolean, referred boolean default true, header text default 'x');
create table desk.rooms (id int primary key, person_id int references desk.people, beds int not null default 1);
create view desk.guests as
    select p.id, p.name, p.seen, r.beds from desk.people p left join desk.rooms r on r.person_id = p.id;
create view desk.tally as
    select p.id as person, p.name, count(r.id)::int as rooms from desk.people p left join desk.rooms r on r.person_id = p.id
    group by p.id, p.name;
create view desk.callers as select id, name, seen from desk.people where seen >= 0 offset 0;
create materialized view desk.peak as select person_id, sum(beds)::int as beds from desk.rooms group by person_id;
create table desk.pairs (a int not null, b int not null, note text);
create unique index pairs_key on desk.pairs (a, b);
create table desk.loose (a int, note text);
create function desk.carry_out() returns trigger language plpgsql as $$
declare key int := (to_jsonb(coalesce(old, new)) ->> tg_argv[0])::int;
begin
    if tg_op = 'INSERT' then
        insert into desk.people (id, name) values (key, trim(new.name));
        return new;
    elsif tg_op = 'UPDATE' then
        update desk.people set name = trim(new.name), seen = seen + 1 where id = key;
        return new;
    end if;
    delete from desk.people where id = key;
    return old;
end $$;
create trigger t instead of insert or update or delete on desk.guests for each row execute function desk.carry_out('id');
create trigger t instead of insert or update or delete on desk.tally for each row execute function desk.carry_out('person');
create trigger t instead of update on desk.callers for each row execute function desk.carry_out('id');
insert into desk.people (id, name) values (1, 'Ann'), (2, 'Ben');
insert into desk.rooms (id, person_id, beds) values (1, 1, 2), (2, 1, 1);
insert into desk.pairs values (1, 1, 'one');
refresh materialized view desk.peak;
