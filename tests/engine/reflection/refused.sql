-- tables that refuse by triggers, rules and rights of their own
create schema own;
create table own.orders (id int primary key, amount int not null default 0, note text);
create function own.judge() returns trigger language plpgsql as $$
begin
    case new.note
        when 'raised' then raise exception 'no way, %', new.amount;
        when 'coded' then raise exception 'no way' using errcode = 'MY001';
        when 'asserted' then assert false, 'never';
        when 'nothing found' then raise no_data_found using message = 'nothing';
        when 'undecided' then case when false then null; end case;
        when 'skipped' then return null;
        else null;
    end case;
    return new;
end $$;
create trigger judged before insert or update on own.orders for each row execute function own.judge();
create function own.late() returns trigger language plpgsql as $$
begin
    if new.amount = 13 then raise exception 'unlucky'; end if;
    return null;
end $$;
create constraint trigger late after insert or update on own.orders deferrable initially deferred
    for each row execute function own.late();
create view own.cheap as select id, amount from own.orders where amount < 10 with check option;
create table own.ruled (id int primary key, name text);
create rule aside as on insert to own.ruled do instead insert into own.orders (id) values (new.id);
create materialized view own.unfilled as select id from own.orders with no data;
create table own.parents (id int primary key);
create table own.children (id int primary key, parent_id int references own.parents, above_id int references own.children);
insert into own.parents values (1);
insert into own.orders (id) values (1);
insert into own.children values (1, 1, null), (2, 1, 1);
