# One project, eight agents, an account that several of them share, a group that can be assigned, and their API keys.
require 'json'

Setting.rest_api_enabled = '1'
Setting.notified_events = []
Setting.default_language = 'en'
Setting.issue_group_assignment = '1'
admin = User.find_by_login('admin')
admin.must_change_passwd = false
admin.save!(validate: false)

project = Project.new(name: 'Demo', identifier: 'demo')
project.enabled_module_names = %w[issue_tracking]
project.trackers = Tracker.all
project.save!

def user(login)
  user = User.new(firstname: login, lastname: 'Agent', mail: "#{login}@example.invalid")
  user.login = login
  user.password = user.password_confirmation = "Passw0rd-#{login}"
  user.mail_notification = 'none'
  user.save!
  user
end

said = { 'admin' => { id: admin.id, key: admin.api_key } }
developer = Role.find_by_name('Developer')
((1..8).map { |number| "dev-#{number}" } + ['shared-bot']).each do |login|
  member = user(login)
  Member.create!(project: project, principal: member, roles: [developer])
  said[login] = { id: member.id, key: member.api_key }
end
# May see the project, for it is public, and be assigned nothing.
stranger = user('stranger')
said['stranger'] = { id: stranger.id, key: stranger.api_key }
group = Group.new(lastname: 'crew')
group.save!
Member.create!(project: project, principal: group, roles: [developer])
said['crew'] = { id: group.id }

File.write("#{ENV.fetch('FOLDER')}/seed.json", "#{JSON.generate('version' => Redmine::VERSION.to_s, 'accounts' => said)}\n")
