# One run of Ruby makes the tables, Redmine's default data and what the tests need.
load '/usr/share/redmine/Rakefile'

task :up => ['db:migrate'] do
  ActiveRecord::Base.connection.schema_cache.clear!
  # Columns that a migration added are not known to a class that was loaded before.
  ActiveRecord::Base.descendants.each(&:reset_column_information)
  Redmine::DefaultData::Loader.load('en')
  load "#{ENV.fetch('FOLDER')}/seed.rb"
end
